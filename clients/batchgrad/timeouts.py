"""Default timeouts of the client, in seconds, and one time for several waits.

None instead of a number waits forever.
"""

import time
from collections.abc import Callable

REQUEST = 30.0
"""For the answer to a request."""

LONG_REQUEST = 600.0
"""For an answer that the service computes first: a gradient, a replay, an uploaded dataset."""

RECONNECT = 60.0
"""For a service that answered before and is silent while a job is watched: it may restart."""


class Deadline:
    """A time of `seconds` from now for several waits together."""

    def __init__(self, seconds: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = None if seconds is None else clock() + seconds

    def left(self) -> float | None:
        """Seconds until the end, at least 0; None without an end."""
        return None if self._end is None else max(0.0, self._end - self._clock())
