"""Work on long vectors, block by block, so that threads can share it.

Blocks never depend on threads, so the bits of sums don't either.
"""

from collections.abc import Callable

from batchgrad_workers.threads import ThreadTeam

BLOCK = 1 << 16
"""Numbers in a block."""

THREADED = 1 << 20
"""How many numbers there have to be for threads to gain more than it costs to wake them."""


def over(team: ThreadTeam, size: int, work: Callable[[slice], None], *, numbers: int = 1) -> None:
    """Call `work` for every block of `size` items, once, in any order; each has `numbers`."""
    step = max(1, BLOCK // numbers)
    if size * numbers >= THREADED:
        blocks = range(-(-size // step))
        team.run(blocks, lambda k: work(slice(k * step, min((k + 1) * step, size))))
        return
    for start in range(0, size, step):
        work(slice(start, min(start + step, size)))
