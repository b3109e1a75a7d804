"""Workers on other nodes pass θ on and join sums among themselves; Ray only notes calls here."""

import select
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.exceptions import ActorDiedError, RayTaskError

from batchgrad_engine.executors.ray.siblings import FAN_OUT, HeldParts, HeldSums, Relays
from batchgrad_engine.executors.ray.transport import RayConnection, RayConnections
from batchgrad_engine.executors.scheduler.protocol import (
    ConnectionLost,
    RequestLost,
    StepRequest,
)
from batchgrad_workers.reduction.sharding import assign, node_count
from batchgrad_workers.reduction.sums import GradientSums
from batchgrad_workers.reduction.tree import Node, ReductionTree
from batchgrad_workers.runtime.ipc import Work
from batchgrad_workers.runtime.shard import RangeSums

LARGE = np.zeros(30_000)
"""A θ that does not fit into a message."""

NOTHING = np.empty(0)


def sums(value: float) -> GradientSums:
    return GradientSums(np.array([value]), np.zeros(3), NOTHING, NOTHING)


class Method:
    """A method of a fake actor: `.remote(…)`, also after `.options(num_returns=…)`."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call
        self._returns: int | None = None

    def options(self, num_returns: int) -> "Method":
        self._returns = num_returns
        return self

    def remote(self, *arguments: Any) -> Any:
        return self._call(*arguments, *([] if self._returns is None else [self._returns]))


class Reference(Future[Any]):
    def future(self) -> Future[Any]:
        return self


class FakeActor:
    """Notes what it is asked for. What it relays or joins is a text that says so."""

    def __init__(self, name: str) -> None:
        self.asked: list[Any] = []
        self.replies: list[Reference] = []
        self.relay = Method(lambda theta: f"{theta}>{name}")
        self.join = Method(lambda left, right: left + right)
        self.held_sums = Method(self._held)
        self.gradient_sums = Method(partial(self._reply, "gradient"))
        self.evaluation_sums = Method(partial(self._reply, "evaluation"))

    def _reply(self, *asked: Any) -> Reference:
        self.asked.append(asked)
        self.replies.append(Reference())
        return self.replies[-1]

    def _held(self, *arguments: Any) -> list[Any]:
        *request, returns = arguments
        return [self._reply("held", *request), *(f"sums {place}" for place in range(returns - 1))]


@pytest.mark.parametrize("nodes", [1, 2, 3, 7, 16, 63, 100])
def test_no_copy_is_fetched_by_more_than_two_nodes(nodes: int) -> None:
    relays = Relays("own")
    fetched = Counter[Any]()
    for number in range(nodes):
        source, direct = relays.reference(f"node {number}", FakeActor(str(number)))
        assert direct == (source == "own") == (number < FAN_OUT)
        fetched[source] += 1
        again = relays.reference(f"node {number}", FakeActor("a second worker there"))
        assert again == (source, direct)
    assert max(fetched.values()) <= FAN_OUT
    longest = max(source.count(">") for source in fetched)
    assert FAN_OUT ** (longest + 1) <= nodes + 2  # ⌈log₂⌉ of the nodes, not one after the other


def part(start: int, stop: int, leaves: int, make: Callable[[int, int], Any]) -> RangeSums[Any]:
    """A worker's reply: `make(first, end)` for each maximal node of its range."""
    tree: ReductionTree[list[int]] = ReductionTree(leaves, lambda left, right: left + right)
    for leaf in range(start, stop):
        tree.add(0, leaf, [leaf])
    nodes = [Node(n.level, n.index, make(n.sum[0], n.sum[-1] + 1)) for n in tree.nodes()]
    assert len(nodes) == node_count(start, stop, leaves)
    return RangeSums(start, stop, nodes, NOTHING, NOTHING, 0.0)


@given(st.integers(1, 300), st.integers(1, 40), st.randoms())
def test_joined_sums_are_those_of_the_canonical_tree(
    leaves: int, workers: int, random: Any
) -> None:
    """Own sums stay; what is fetched completes the tree, each leaf once."""
    rounding = np.array([random.uniform(-1, 1) for _ in range(leaves)])

    def summed(first: int, end: int) -> float:
        tree: ReductionTree[float] = ReductionTree(leaves, float.__add__)
        for leaf in range(first, end):
            tree.add(0, leaf, float(rounding[leaf]))
        [node] = tree.nodes()
        return node.sum

    class Joining(FakeActor):
        def __init__(self) -> None:
            super().__init__("")
            self.join = Method(float.__add__)

    first, *others = assign(leaves, workers)
    parts = [part(*first, leaves, lambda *each: sums(summed(*each)))] + [
        part(*each, leaves, lambda *each: HeldSums(Joining(), summed(*each))) for each in others
    ]
    random.shuffle(parts)
    held = HeldParts(leaves)
    for each in parts:
        held.add(each)
    fetched: list[float] = []

    def fetch(references: list[float]) -> list[GradientSums]:
        fetched.extend(references)
        return [sums(each) for each in references]

    tree: ReductionTree[GradientSums] = ReductionTree(leaves, GradientSums.join)
    here = held.fetched(parts, fetch)
    for each in here:
        for node in each.nodes:
            assert each.start <= node.index << node.level < each.stop
            tree.add(node.level, node.index, node.sum)
    assert tree.root().gradient.tolist() == [summed(0, leaves)]
    assert len(fetched) <= max(0, 2 * (leaves - 1).bit_length())
    assert [(each.start, each.stop) for each in here] == [(p.start, p.stop) for p in parts]


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> RayConnections:
    monkeypatch.setattr("ray.put", lambda _: "own")
    found = RayConnections()
    found.shares_next = True
    return found


@pytest.fixture
def actor() -> FakeActor:
    return FakeActor("a")


@pytest.fixture
def connection(actor: FakeActor, connections: RayConnections) -> Iterator[RayConnection]:
    with closing(RayConnection(actor, "there", connections)) as found:
        yield found


def request(number: int, work: Work = "gradient") -> StepRequest:
    return StepRequest(number, work, 5, LARGE, 8)


REPLY = part(3, 8, 8, lambda *_: sums(0.0))


def test_a_worker_keeps_its_sums_and_says_where_they_belong(
    connection: RayConnection, actor: FakeActor, connections: RayConnections
) -> None:
    connection.send(request(1), (3, 8))
    actor.replies[0].set_result(REPLY._replace(norms=np.zeros(10)))
    found = connection.receive(request(1))
    assert found is not None
    assert actor.asked == [("held", 5, "own", 3, 8, None)]
    assert [(node.level, node.index) for node in found.nodes] == [(0, 3), (2, 1)]
    assert [node.sum for node in found.nodes] == [
        HeldSums(actor, "sums 0"),
        HeldSums(actor, "sums 1"),
    ]
    assert connections.traffic["out", "ray"] == LARGE.nbytes
    assert connections.traffic["in", "ray"] == 10 * 8 + 2 * (8 + 24)  # the fake's arrays


def test_only_the_next_request_is_shared(
    connection: RayConnection, actor: FakeActor, connections: RayConnections
) -> None:
    connection.send(request(1), (0, 1))
    relied_on = [connection.relied_on]
    connections.release()
    relied_on.append(connection.relied_on)
    connection.send(request(2), (0, 1))
    connection.send(request(3, "evaluation"), (0, 1))
    assert [asked[0] for asked in actor.asked] == ["held", "gradient", "evaluation"]
    assert [*relied_on, connection.relied_on] == [True, False, False]


def test_replies_come_in_the_order_of_the_calls(
    connection: RayConnection, actor: FakeActor
) -> None:
    for number in (1, 2):
        connection.send(request(number), (3, 8))
    actor.replies[1].set_result(REPLY)
    assert not select.select([connection], [], [], 0)[0]
    actor.replies[0].set_result(REPLY)
    assert connection.receive(request(2)) is None  # the first one's, which is stale
    assert connection.receive(request(2)) is not None


def relayed() -> Exception:
    """Ray raises the error of a call's argument as an error in the call itself."""
    return RayTaskError("held_sums", "its argument is lost", ActorDiedError()).as_instanceof_cause()


def test_a_lost_worker_that_another_relied_on_loses_the_request_and_not_the_other(
    connection: RayConnection, actor: FakeActor
) -> None:
    for number, error in ((1, relayed()), (2, relayed()), (2, ActorDiedError())):
        connection.send(request(number), (0, 1))
        actor.replies[-1].set_exception(error)
    assert connection.receive(request(2)) is None  # of an earlier request
    with pytest.raises(RequestLost, match="died unexpectedly"):
        connection.receive(request(2))
    with pytest.raises(ConnectionLost):
        connection.receive(request(2))


def test_a_lost_argument_of_a_request_that_is_not_shared_loses_the_worker(
    connection: RayConnection, actor: FakeActor, connections: RayConnections
) -> None:
    connections.release()
    connection.send(request(1, "evaluation"), (0, 1))
    actor.replies[0].set_exception(relayed())
    with pytest.raises(ConnectionLost):
        connection.receive(request(1, "evaluation"))
