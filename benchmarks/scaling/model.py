"""The time of one step, computed from the costs of its parts. Uses no clock and no cluster.

P parameters · N examples in a minibatch · B in a microbatch · M = ⌈N/B⌉ · K nodes, a worker on
each, the coordinator on the first · θ and a sum have 4P bytes. All times in seconds.

    step = max(own share, calls + θ out + largest share + sums in - overlap) + joining + the rest
"""

from dataclasses import dataclass
from functools import cache
from math import ceil, inf
from typing import NamedTuple

from batchgrad_workers.reduction.sharding import assign, node_count

FLOAT_BYTES = 4

BY_VALUE_BYTES = 100_000
"""Arrays up to this size travel inside messages. Copied from `ray/transport.py`: it imports Ray."""


class Job(NamedTuple):
    """A job: P, N, B, the threads of each worker, and the bytes of a number on its way."""

    parameters: int
    batch_size: int
    microbatch_size: int
    threads: int = 1
    number_bytes: int = FLOAT_BYTES

    @property
    def vector_bytes(self) -> int:
        """Bytes of θ, and of a sum, between nodes: 4P."""
        return self.number_bytes * self.parameters

    @property
    def microbatches(self) -> int:
        """M, the number of microbatches."""
        return ceil(self.batch_size / self.microbatch_size)


class Cluster(NamedTuple):
    """Identical nodes with `workers` on each. `bits_per_second` is a node's link in each direction.

    `shared_cores` are the cores that all nodes share because they are one machine; None: each
    has enough of its own. `burst_bytes` pass a link at once before its limit holds (`tc tbf`).
    """

    nodes: int
    bits_per_second: float = inf
    shared_cores: int | None = None
    burst_bytes: int = 0
    workers: int = 1


@dataclass(frozen=True)
class Costs:
    """Measured costs in seconds, each for one unit of what its name says.

    A microbatch costs `microbatch + microbatch_parameter·P + example_parameter·B·P` on one thread;
    each further thread adds the fraction `contention`. `link_share` is the fraction of a link's
    bits that carry arrays. Sums of nodes that got θ early arrive while others still receive it:
    `overlap` is the part of the possible overlap that occurs, 0 to 1. A step with other nodes
    through Ray costs `call`, `call_worker` for each worker there; also `objects` and
    `objects_worker` where arrays are too long for a message; `ray_byte` for each byte that the
    coordinator's node sends or receives. `rest…` is the coordinator's own work:
    division, comparison, update, report.
    """

    microbatch: float
    microbatch_parameter: float
    example_parameter: float
    contention: float
    rest: float
    rest_parameter: float
    rest_example: float
    add_byte: float
    link_share: float
    overlap: float
    call: float
    call_worker: float
    objects: float
    objects_worker: float
    ray_byte: float


class Step(NamedTuple):
    """The parts of one step. `own` is the share of the coordinator's node, computed in parallel.

    `calls` is the cost of messages and objects that does not depend on their length.
    """

    own: float
    calls: float
    out: float
    compute: float
    back: float
    overlap: float
    join: float
    rest: float

    @property
    def away(self) -> float:
        """Seconds from sending θ to receiving the last sum."""
        return self.calls + self.out + self.compute + self.back - self.overlap

    @property
    def seconds(self) -> float:
        """Seconds of the whole step."""
        return max(self.own, self.away) + self.join + self.rest


def step(costs: Costs, job: Job, cluster: Cluster, *, siblings: bool = False) -> Step:
    """Predict one step of `job` on `cluster`.

    With `siblings` (not built in the product) nodes join sums in pairs, then pairs of pairs, and
    pass θ on the same way: ⌈log₂ K⌉ vectors each way through the busiest link instead of K - 1.
    Valid for K and M that are powers of two.
    """
    largest, counts = division(job.microbatches, cluster.nodes * cluster.workers)
    here = min(cluster.workers, len(counts))
    there = len(counts) - here
    rest = costs.rest + costs.rest_parameter * job.parameters + costs.rest_example * job.batch_size
    own = share(costs, job, largest, here, cluster)
    join = (sum(counts) - 1) * job.vector_bytes * costs.add_byte
    if not there:
        return Step(own, 0, 0, 0, 0, 0, join, rest)
    copies = min(cluster.nodes - 1, there)
    sums_in = sum(counts[here:])  # the range with most sums is computed on the coordinator's node
    objects = there
    if siblings:
        copies = sums_in = objects = there.bit_length()
        join = sums_in * job.vector_bytes * costs.add_byte
    large = job.vector_bytes > BY_VALUE_BYTES
    out = transfer(costs, cluster, copies * job.vector_bytes)
    back = transfer(costs, cluster, sums_in * job.vector_bytes)
    rivals = there + here * (out < own)  # is the own share still running when θ arrives elsewhere?
    return Step(
        own=own,
        calls=costs.call
        + there * costs.call_worker
        + large * (costs.objects + objects * costs.objects_worker),
        out=out,
        compute=share(costs, job, largest, rivals, cluster),
        back=back,
        overlap=(not siblings) * costs.overlap * (1 - 1 / copies) * min(out, back),
        join=join,
        rest=rest,
    )


@cache
def division(microbatches: int, workers: int) -> tuple[int, tuple[int, ...]]:
    """Microbatches of the largest share, and the number of sums of each share, largest first."""
    ranges = assign(microbatches, workers)
    counts = tuple(sorted((node_count(*each, microbatches) for each in ranges), reverse=True))
    return max(stop - start for start, stop in ranges), counts


def share(costs: Costs, job: Job, microbatches: int, workers: int, cluster: Cluster) -> float:
    """Seconds of a worker's microbatches while `workers` compute on the same cores."""
    threads = min(job.threads, microbatches)
    one = (
        costs.microbatch
        + costs.microbatch_parameter * job.parameters
        + costs.example_parameter * job.parameters * min(job.microbatch_size, job.batch_size)
    )
    slower = 1 + costs.contention * (threads - 1)
    if cluster.shared_cores:
        slower *= max(1, workers * threads / cluster.shared_cores)
    return ceil(microbatches / threads) * one * slower


def transfer(costs: Costs, cluster: Cluster, size: float) -> float:
    """Seconds to move `size` bytes out of the coordinator's node, or into it."""
    limited = 8 * max(0, size - cluster.burst_bytes) / (cluster.bits_per_second * costs.link_share)
    return limited + size * costs.ray_byte
