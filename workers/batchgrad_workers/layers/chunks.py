"""Work that would need too much memory at once, cut into runs of examples.

How it is cut depends on shapes alone, so it never changes the bits.
"""

from collections.abc import Iterator

CHUNK_BYTES = 1 << 24
"""What a layer may hold beside activations and sums: patches, per-example gradients, products."""


def chunks(examples: int, bytes_per_example: int) -> Iterator[slice]:
    """Runs of examples that stay within CHUNK_BYTES, of one example at least."""
    size = max(1, CHUNK_BYTES // max(1, bytes_per_example))
    for start in range(0, examples, size):
        yield slice(start, min(start + size, examples))
