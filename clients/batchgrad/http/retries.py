"""Retry requests: how often, and after which delay."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

RETRIED_STATUSES = frozenset({429, 502, 503, 504})


@dataclass(frozen=True)
class Retries:
    """Exponential backoff with jitter: half of each delay is drawn at random.

    `max_attempts` includes the first. After a Retry-After longer than `max_retry_after_seconds`
    the error is raised at once.
    """

    max_attempts: int = 5
    initial_delay_seconds: float = 0.2
    max_delay_seconds: float = 5.0
    max_retry_after_seconds: float = 60.0
    jitter: Callable[[], float] = random.random

    def delay(self, failures: int, retry_after_seconds: float | None = None) -> float | None:
        """Seconds to wait after a number of `failures`, at least 1; None: raise the error."""
        if failures >= self.max_attempts:
            return None
        if retry_after_seconds is not None:
            acceptable = retry_after_seconds <= self.max_retry_after_seconds
            return retry_after_seconds if acceptable else None
        return self.backoff(failures)

    def backoff(self, failures: int) -> float:
        """Seconds of backoff after a number of `failures`, which has no limit here."""
        doubled = self.initial_delay_seconds * 2.0 ** min(failures - 1, 30)
        return min(self.max_delay_seconds, doubled) * (0.5 + 0.5 * self.jitter())


def retry_after_seconds(header: str | None, now: datetime | None = None) -> float | None:
    """Seconds from a Retry-After header, a number or a date; None without a valid one."""
    if header is None:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        date = parsedate_to_datetime(header)
    except ValueError:
        return None  # neither form: ignore the header
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())
