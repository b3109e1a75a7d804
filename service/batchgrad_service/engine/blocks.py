"""Work on long vectors, block by block: each stays in the cache, and threads share them.

Blocks depend on the vectors' length alone, never on threads, so the bits of sums don't either.
"""

from collections.abc import Callable

import numpy as np

from batchgrad_workers.threads import ThreadTeam

BLOCK = 1 << 16
"""Numbers in a block of a vector."""

THREADED_BYTES = 1 << 20
"""How much there has to be for threads to gain more than it costs to wake them."""


def run(team: ThreadTeam, blocks: int, work: Callable[[int], None], *, of_bytes: int) -> None:
    """Call `work` for every block number, once, in any order; `of_bytes` is how much they hold.

    Overflow raises no warnings: whoever looks at the result tells of it.
    """
    if of_bytes >= THREADED_BYTES:
        team.run(range(blocks), work)
        return
    with np.errstate(all="ignore"):
        for block in range(blocks):
            work(block)


def over(team: ThreadTeam, size: int, work: Callable[[slice], None], *, of_bytes: int) -> None:
    """Call `work` for every block of a vector of `size` numbers."""
    count = -(-size // BLOCK)
    run(team, count, lambda k: work(slice(k * BLOCK, (k + 1) * BLOCK)), of_bytes=of_bytes)
