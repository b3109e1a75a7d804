"""Pauses between retries, each longer than the last."""

from math import inf


class Backoff:
    """Every failure is waited out twice as long as the one before, up to the longest; seconds."""

    def __init__(self, first: float, longest: float) -> None:
        """`first` is how long the first failure is waited out."""
        self.until = -inf
        self.next = first
        self._longest = longest

    def fail(self, now: float) -> float:
        """It failed `now`: seconds to wait, until `until`."""
        seconds = self.next
        self.next = min(2 * seconds, self._longest)
        self.until = now + seconds
        return seconds
