"""How long one step takes, from what its parts cost. No clock and no cluster: arithmetic.

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
"""Up to here arrays travel inside of messages, as in `ray/transport.py`, which would import Ray."""


class Job(NamedTuple):
    """P, N, B, and the threads of each worker."""

    parameters: int
    batch_size: int
    microbatch_size: int
    threads: int = 1

    @property
    def vector_bytes(self) -> int:
        """Of θ, and of a sum: 4P."""
        return FLOAT_BYTES * self.parameters

    @property
    def microbatches(self) -> int:
        """M."""
        return ceil(self.batch_size / self.microbatch_size)


class Cluster(NamedTuple):
    """Nodes alike, with so many `workers` on each. `bits_per_second` is a node's link, either way.

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
    """What was measured, in seconds: for each of what the name says.

    A microbatch costs `microbatch + microbatch_parameter·P + example_parameter·B·P` on one thread;
    `contention` is what each further thread adds to it, as a share. `link_share` of a link's bits
    are the arrays' own. Sums of nodes that had θ early come in while it still goes out to others:
    `overlap` says how far, from 0 to 1, as far as they could. Through Ray a step with other nodes
    costs `call`, `call_worker` for each worker there; `objects` and `objects_worker` more where
    arrays are too long for a message; `ray_byte` for each byte that the coordinator's node sends
    or takes. `rest…` is what the coordinator does alone: division, comparison, update, report.
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
    """One step's parts. `own` is the coordinator's own share, computed while the others do theirs.

    `calls` is what messages and objects cost however short they are.
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
        """From θ's departure to the last sum's arrival."""
        return self.calls + self.out + self.compute + self.back - self.overlap

    @property
    def seconds(self) -> float:
        """All of it."""
        return max(self.own, self.away) + self.join + self.rest


def step(costs: Costs, job: Job, cluster: Cluster, *, siblings: bool = False) -> Step:
    """One step of `job` on `cluster`.

    With `siblings`, which the product does not do, nodes join sums in pairs, pairs of pairs, and
    hand θ on the same way: ⌈log₂ K⌉ vectors each way through the busiest link instead of K - 1.
    That is for K and M that are powers of two.
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
    sums_in = sum(counts[here:])  # what has most sums is computed on the coordinator's node
    objects = there
    if siblings:
        copies = sums_in = objects = there.bit_length()
        join = sums_in * job.vector_bytes * costs.add_byte
    large = job.vector_bytes > BY_VALUE_BYTES
    out = transfer(costs, cluster, copies * job.vector_bytes)
    back = transfer(costs, cluster, sums_in * job.vector_bytes)
    rivals = there + here * (out < own)  # the own share is done by the time θ is elsewhere, or not
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
    """Microbatches of the largest share, and the sums of each, most first."""
    ranges = assign(microbatches, workers)
    counts = tuple(sorted((node_count(*each, microbatches) for each in ranges), reverse=True))
    return max(stop - start for start, stop in ranges), counts


def share(costs: Costs, job: Job, microbatches: int, workers: int, cluster: Cluster) -> float:
    """A worker's microbatches, while so many `workers` compute."""
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
    """So many bytes out of the coordinator's node, or into it."""
    limited = 8 * max(0, size - cluster.burst_bytes) / (cluster.bits_per_second * costs.link_share)
    return limited + size * costs.ray_byte
