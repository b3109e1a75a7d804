"""Runs of examples, for work that would need too much memory at once.

Runs depend on shapes alone, so results have the same bits for any number of workers and threads.
"""

CHUNK_BYTES = 1 << 24
"""Limit on patches, per-example gradients and products that a layer holds at once."""

CACHE_BYTES = 1 << 21
"""The same limit for arrays that are read once after they were written: they stay in the cache."""


def chunks(examples: int, bytes_per_example: int, budget_bytes: int = CHUNK_BYTES) -> list[slice]:
    """Runs of examples within the budget, at least one example each; none longer than the first."""
    size = max(1, budget_bytes // max(1, bytes_per_example))
    starts = range(0, examples, size)
    return [slice(start, min(start + size, examples)) for start in starts]
