"""The time of one step, computed from the costs of its parts. Uses no clock and no cluster.

P parameters · N examples in a minibatch · B in a microbatch · M = ⌈N/B⌉ · K nodes, a worker on
each, the coordinator on the first · θ and a sum have 4P bytes. All times in seconds.

    step = max(own share, calls + θ out + largest share + sums in - overlap) + joining + the rest
"""

from collections import Counter
from dataclasses import dataclass
from functools import cache
from math import ceil, inf
from typing import NamedTuple

from batchgrad_workers.reduction.sharding import assign, maximal_nodes, node_count
from batchgrad_workers.reduction.tree import ReductionTree

FLOAT_BYTES = 4

BY_VALUE_BYTES = 100_000
"""Arrays up to this size travel inside messages. Copied from `ray/transport.py`: it imports Ray."""

SHARED_BYTES = 204_800
"""Workers share the exchange of larger arrays. Copied from `ray/exchange.py`: it imports Ray."""

FAN_OUT = 2
"""How many nodes get θ from each that passes it on. Copied from `ray/siblings.py`."""


class Job(NamedTuple):
    """A job: P, N, B, the threads of each worker, and the bytes of a sum's number on its way."""

    parameters: int
    batch_size: int
    microbatch_size: int
    threads: int = 1
    sum_number_bytes: int = FLOAT_BYTES

    @property
    def theta_bytes(self) -> int:
        """Bytes of θ between nodes: 4P."""
        return FLOAT_BYTES * self.parameters

    @property
    def sum_bytes(self) -> int:
        """Bytes of a sum between nodes: 4P, or 2P if it is rounded to bfloat16."""
        return self.sum_number_bytes * self.parameters

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
    `objects_worker` where arrays are too long for a message, for each that the coordinator
    receives; `call_worker` again for each time that a worker passes θ on or joins two sums;
    `ray_byte` for each byte that the coordinator's node sends or receives. `rest…` is the
    coordinator's own work: division, comparison, update, report.
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


class Exchange(NamedTuple):
    """Arrays between nodes in one step.

    `out` and `back` are the vectors that pass one after the other until the last node has θ, and
    from the last sum until the coordinator has all. `objects` is how many sums it receives,
    `calls` how often workers pass θ on or join two sums.
    """

    out: int
    back: int
    objects: int
    calls: int


def step(costs: Costs, job: Job, cluster: Cluster, *, siblings: bool = False) -> Step:
    """Predict one step of `job` on `cluster`.

    With `siblings` workers pass θ on and join sums among themselves, as the product does on many
    nodes.
    """
    largest, counts = division(job.microbatches, cluster.nodes * cluster.workers)
    here = min(cluster.workers, len(counts))
    there = len(counts) - here
    rest = costs.rest + costs.rest_parameter * job.parameters + costs.rest_example * job.batch_size
    own = share(costs, job, largest, here, cluster)
    join = (sum(counts) - 1) * job.theta_bytes * costs.add_byte
    if not there:
        return Step(own, 0, 0, 0, 0, 0, join, rest)
    nodes = min(cluster.nodes - 1, there)
    large = job.theta_bytes > BY_VALUE_BYTES
    shared = siblings and job.theta_bytes > SHARED_BYTES
    if shared:
        arrays = among_siblings(job.microbatches, len(counts), here, nodes)
        join = arrays.back * job.theta_bytes * costs.add_byte
    else:  # the range with most sums is computed on the coordinator's node
        arrays = Exchange(nodes, sum(counts[here:]), there, 0)
    out = transfer(costs, cluster, arrays.out * job.theta_bytes)
    back = transfer(costs, cluster, arrays.back * job.sum_bytes)
    rivals = there + here * (out < own)  # is the own share still running when θ arrives elsewhere?
    return Step(
        own=own,
        calls=costs.call
        + (there + arrays.calls) * costs.call_worker
        + large * (costs.objects + arrays.objects * costs.objects_worker),
        out=out,
        compute=share(costs, job, largest, rivals, cluster),
        back=back,
        overlap=(not shared) * costs.overlap * (1 - 1 / nodes) * min(out, back),
        join=join,
        rest=rest,
    )


@cache
def among_siblings(microbatches: int, workers: int, here: int, nodes: int) -> Exchange:
    """The arrays between `nodes` other nodes: θ by levels of `FAN_OUT`, sums by the canonical tree.

    `here` of the `workers` are on the coordinator's node.
    """
    places = Counter(level(place) for place in range(nodes))
    out = sum(min(FAN_OUT, count) for count in places.values())
    relays = len({place // FAN_OUT - 1 for place in range(FAN_OUT, nodes)})
    ranges = sorted(
        assign(microbatches, workers), key=lambda each: -node_count(*each, microbatches)
    )
    joins: ReductionTree[int] = ReductionTree(
        microbatches, lambda left, right: 1 + max(left, right)
    )
    held = [node for each in ranges[here:] for node in maximal_nodes(*each, microbatches)]
    for place in held:
        joins.add(*place, 0)
    fetched = joins.nodes()
    longest = max(node.sum for node in fetched)
    return Exchange(
        out=out,
        back=max(len(fetched), longest + 1),
        objects=len(fetched),
        calls=relays + len(held) - len(fetched),
    )


def level(place: int) -> int:
    """How many nodes pass θ on before the node at this place, from 0, gets it."""
    return 0 if place < FAN_OUT else 1 + level(place // FAN_OUT - 1)


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
