"""Work that would need too much memory at once, cut into runs of examples.

How it is cut depends on shapes alone, so it never changes the bits.
"""

CHUNK_BYTES = 1 << 24
"""What a layer may hold beside activations and sums: patches, per-example gradients, products."""

CACHE_BYTES = 1 << 21
"""The same where what is written, read once and written anew should stay in the cache."""


def chunks(examples: int, bytes_per_example: int, budget_bytes: int = CHUNK_BYTES) -> list[slice]:
    """Runs of examples within the budget, at least one example each; none longer than the first."""
    size = max(1, budget_bytes // max(1, bytes_per_example))
    starts = range(0, examples, size)
    return [slice(start, min(start + size, examples)) for start in starts]
