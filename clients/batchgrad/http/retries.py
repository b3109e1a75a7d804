"""When a request is sent again, and after how long."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

RETRIED_STATUSES = frozenset({429, 502, 503, 504})


@dataclass(frozen=True)
class Retries:
    """Exponential backoff with jitter: half of each delay is drawn at random.

    `attempts` counts every sending, the first too. A Retry-After longer than
    `longest_retry_after_seconds` is not waited for: the error is raised at once.
    """

    attempts: int = 5
    first_delay_seconds: float = 0.2
    longest_delay_seconds: float = 5.0
    longest_retry_after_seconds: float = 60.0
    jitter: Callable[[], float] = random.random

    def delay(self, failures: int, retry_after_seconds: float | None = None) -> float | None:
        """Seconds to wait after so many failures (at least 1); None: give up."""
        if failures >= self.attempts:
            return None
        if retry_after_seconds is not None:
            patient = retry_after_seconds <= self.longest_retry_after_seconds
            return retry_after_seconds if patient else None
        return self.pause(failures)

    def pause(self, failures: int) -> float:
        """Seconds of backoff after so many failures, without a limit on their number."""
        longest = min(
            self.longest_delay_seconds, self.first_delay_seconds * 2.0 ** min(failures - 1, 30)
        )
        return longest * (0.5 + 0.5 * self.jitter())


def retry_after_seconds(header: str | None, now: datetime | None = None) -> float | None:
    """A Retry-After header, which is a number of seconds or a date; None if there is none."""
    if header is None:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        date = parsedate_to_datetime(header)
    except ValueError:
        return None  # neither form: as good as no header
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())
