"""Workers on other nodes pass θ on and join sums among themselves, each in a tree.

The coordinator's link then carries θ `FAN_OUT` times and about log₂ of the workers' sums, in place
of one of each for every worker. Sums are joined in the canonical tree, so they keep their bits.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from batchgrad_engine.executors.ray.protocol import RayHandle
from batchgrad_engine.executors.scheduler.protocol import AnySums
from batchgrad_workers.reduction.sums import GradientSums
from batchgrad_workers.reduction.tree import Node, ReductionTree
from batchgrad_workers.runtime.shard import RangeSums

FAN_OUT = 2
"""How many nodes get θ from the coordinator, and from each node that passes it on."""


class HeldSums(NamedTuple):
    """Sums in the memory of a worker's node: the worker, and Ray's reference to them."""

    actor: RayHandle
    reference: RayHandle

    @staticmethod
    def join(left: "HeldSums", right: "HeldSums") -> "HeldSums":
        """Have left's worker fetch right and join them; returns at once."""
        return HeldSums(left.actor, left.actor.join.remote(left.reference, right.reference))


class Relays:
    """Copies of one θ, by node: each node but the first few fetches it from another one."""

    def __init__(self, theta: RayHandle) -> None:
        """`theta` refers to the copy on the coordinator's node."""
        self._theta = theta
        self._nodes: list[tuple[RayHandle, RayHandle]] = []
        self._copies: dict[int, RayHandle] = {}
        self._places: dict[str, int] = {}

    def reference(self, node: str, actor: RayHandle) -> tuple[RayHandle, bool]:
        """The copy that `actor` on `node` has to fetch; whether it is the coordinator's own."""
        if node not in self._places:
            place = self._places[node] = len(self._nodes)
            source = self._theta if place < FAN_OUT else self._copy(place // FAN_OUT - 1)
            self._nodes.append((actor, source))
        place = self._places[node]
        return self._nodes[place][1], place < FAN_OUT

    def _copy(self, place: int) -> RayHandle:
        """The copy on the node at `place`."""
        if place not in self._copies:
            actor, source = self._nodes[place]
            self._copies[place] = actor.relay.remote(source)
        return self._copies[place]


class HeldParts:
    """The held sums of one request: joined as they become ready, then fetched."""

    def __init__(self, microbatches: int) -> None:
        """`microbatches` is M of the request."""
        self._tree: ReductionTree[HeldSums] = ReductionTree(microbatches, HeldSums.join)

    def add(self, part: AnySums) -> None:
        """Take the sums of `part` that are held, and join them as far as their siblings are."""
        for node in part.nodes:
            if isinstance(node.sum, HeldSums):
                self._tree.add(node.level, node.index, node.sum)

    def fetched(
        self,
        parts: Sequence[AnySums],
        fetch: Callable[[list[RayHandle]], list[GradientSums]],
    ) -> list[RangeSums[GradientSums]]:
        """All `parts` with their sums here; a joined sum is in the part in which it begins.

        `fetch` turns references into sums.
        """
        held = self._tree.nodes()
        if not held:
            return list(parts)
        sums = fetch([node.sum.reference for node in held])
        here = [Node(node.level, node.index, each) for node, each in zip(held, sums, strict=True)]
        return [_with(part, here) for part in parts]


def _with(part: AnySums, joined: Sequence[Node[GradientSums]]) -> RangeSums[GradientSums]:
    """`part` with those of the `joined` sums that begin in it, in place of held ones."""
    own = [node for node in part.nodes if not isinstance(node.sum, HeldSums)]
    begun = [node for node in joined if part.start <= node.index << node.level < part.stop]
    return part._replace(nodes=own + begun)
