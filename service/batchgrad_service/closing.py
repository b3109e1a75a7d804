"""The moment the service stops, told to whoever gives a long answer."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Closing:
    """The moment the service stops: long answers end themselves then."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wakes: list[Callable[[], None]] = []
        self.begun = False

    def begin(self) -> None:
        """Wake every long answer; each looks at `begun` and ends."""
        with self._lock:
            self.begun = True
            wakes = list(self._wakes)
        for wake in wakes:
            wake()

    @contextmanager
    def subscribe(self, wake: Callable[[], None]) -> Iterator[None]:
        """Inside the block `wake` is called when the service begins to stop."""
        with self._lock:
            self._wakes.append(wake)
        try:
            yield
        finally:
            with self._lock:
                self._wakes.remove(wake)
