"""Exponential backoff: pauses between retries, each twice the one before."""

from math import inf


class Backoff:
    """Doubles the pause after every failure, up to `longest` seconds."""

    def __init__(self, first: float, longest: float) -> None:
        """`first` is the pause after the first failure, in seconds."""
        self.until = -inf
        self.next = first
        self._longest = longest

    def fail(self, now: float) -> float:
        """Record a failure at `now`; return the pause in seconds. `until` is when it ends."""
        seconds = self.next
        self.next = min(2 * seconds, self._longest)
        self.until = now + seconds
        return seconds
