"""Predictions of the model for up to 4096 nodes, 100 Gbit/s and 10⁹ parameters."""

from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.scaling.model import FLOAT_BYTES, Cluster, Costs, Job, Step, step

THREADS = 16
"""Threads of each node's worker; each as fast as a core of the measured machine."""

MICROBATCH_SIZE = 128
PARAMETERS = tuple(10**k for k in range(4, 10))
NODES = tuple(2**k for k in range(13))
GIGABITS = (1, 10, 100)
FIXED = 2**16
"""N of a fixed step, which more nodes make shorter."""

A_NODE = THREADS * MICROBATCH_SIZE
"""N for each node if N grows with the nodes: a microbatch for each thread."""

MOST_EXAMPLES = 2**34


class Best(NamedTuple):
    """The number of nodes with the shortest step, and its speed-up over one node."""

    nodes: int
    speed_up: float
    step: Step


def step_on(
    costs: Costs,
    parameters: int,
    batch_size: int,
    nodes: int,
    gigabits: float,
    *,
    siblings: bool = False,
    sum_number_bytes: int = FLOAT_BYTES,
) -> Step:
    """The predicted step. B is 128, or less where 128 would leave threads idle."""
    size = max(1, min(MICROBATCH_SIZE, batch_size // (nodes * THREADS)))
    job = Job(parameters, batch_size, size, THREADS, sum_number_bytes)
    return step(costs, job, Cluster(nodes, gigabits * 1e9), siblings=siblings)


def best(costs: Costs, parameters: int, gigabits: float, *, siblings: bool = False) -> Best:
    """The best number of nodes for N = 65,536."""
    steps = {n: step_on(costs, parameters, FIXED, n, gigabits, siblings=siblings) for n in NODES}
    nodes = min(steps, key=lambda n: steps[n].seconds)
    return Best(nodes, steps[1].seconds / steps[nodes].seconds, steps[nodes])


def efficiency(
    costs: Costs, parameters: int, batch_size: int, nodes: int, gigabits: float, *, siblings: bool
) -> float:
    """Parallel efficiency: the speed on `nodes` over `nodes` times the speed on one."""
    alone = step_on(costs, parameters, batch_size, 1, gigabits).seconds
    together = step_on(costs, parameters, batch_size, nodes, gigabits, siblings=siblings).seconds
    return alone / together / nodes


def examples_for_half(
    costs: Costs, parameters: int, nodes: int, gigabits: float, *, siblings: bool = False
) -> int | None:
    """The smallest N, in powers of two, at which nodes are at least half as fast as alone.

    None if N would exceed 2³⁴, or no N suffices because the coordinator's own part is too long.
    """
    sizes: Iterator[int] = (2**k for k in range(MOST_EXAMPLES.bit_length()))
    return next(
        (
            size
            for size in sizes
            if size >= nodes
            and efficiency(costs, parameters, size, nodes, gigabits, siblings=siblings) >= 0.5
        ),
        None,
    )
