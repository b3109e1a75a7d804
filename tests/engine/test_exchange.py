"""The exchange of arrays among workers: its conditions, and its failures; no Ray."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from ray.exceptions import ActorDiedError

from batchgrad_engine.executors.protocol import ExecutorEvent, Interrupted
from batchgrad_engine.executors.ray import exchange as exchange_module
from batchgrad_engine.executors.ray.exchange import SHARED_BYTES, Exchange
from batchgrad_engine.executors.ray.siblings import HeldSums
from batchgrad_engine.executors.scheduler.protocol import RequestLost
from batchgrad_workers.reduction.sums import GradientSums
from batchgrad_workers.reduction.tree import Node
from batchgrad_workers.runtime.shard import RangeSums

NOTHING = np.empty(0)
LARGE, SMALL = np.zeros(SHARED_BYTES // 8 + 1), np.zeros(SHARED_BYTES // 8)
RANGES = [(0, 1), (1, 2)]


def sums(value: float) -> GradientSums:
    return GradientSums(np.array([value]), np.zeros(3), NOTHING, NOTHING)


@dataclass
class Connection:
    transport: str
    relied_on: bool = False


@dataclass
class Worker:
    number: int
    node: str
    connection: Connection


class Connections:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.shared = False
        self.released = 0
        self.counted: list[GradientSums] = []

    def share_next(self) -> None:
        self.shared = True

    def release(self) -> None:
        self.shared, self.released = False, self.released + 1

    def count_sums(self, found: list[GradientSums]) -> None:
        self.counted += found


@dataclass
class Cluster:
    """A group and its scheduler: worker 0 has its sums here, worker 1 holds them.

    `lost` is what a shared request raises; `silent` are the workers that answer no ping.
    """

    others: int = 2
    connections: Connections = field(default_factory=Connections)
    alive: list[Worker] = field(default_factory=list)
    removed: list[tuple[int, str]] = field(default_factory=list)
    silent: list[Worker] = field(default_factory=list)
    lost: RequestLost | None = None
    requests: list[bool] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.alive = [Worker(0, "here", Connection("shared_memory"))]
        self.alive += [Worker(k + 1, f"n{k}", Connection("ray")) for k in range(self.others)]

    def unresponsive(self, workers: list[Worker]) -> list[Worker]:
        return [worker for worker in workers if worker in self.silent]

    def remove(self, worker: Worker, reason: str, detail: str) -> None:
        assert detail
        self.alive.remove(worker)
        self.removed.append((worker.number, reason))

    def compute(
        self,
        work: str,
        step: int,
        parameters: Any,
        ranges: Any,
        clip_norm: float | None,
        on_result: Callable[[Any], None] = lambda _: None,
    ) -> list[Any]:
        assert (work, step, ranges, clip_norm) == ("gradient", 3, RANGES, None)
        assert len(parameters)
        shared = self.connections.shared
        self.requests.append(shared)
        if shared and self.lost:
            raise self.lost
        there: Any = HeldSums(None, "there") if shared else sums(2.0)
        parts = [
            RangeSums[Any](k, k + 1, [Node(0, k, each)], NOTHING, NOTHING, 0.0)
            for k, each in enumerate([sums(1.0), there])
        ]
        for each in parts:
            on_result(each)
        return parts


class Ray:
    """`ray.wait` and `ray.get`: references are ready after `waits` calls."""

    def __init__(self, waits: int = 0, error: Exception | None = None) -> None:
        self.waits, self.error = waits, error

    def wait(self, references: list[Any], **_: Any) -> tuple[list[Any], list[Any]]:
        self.waits -= 1
        return ([], references) if self.waits >= 0 else (references, [])

    def get(self, references: list[Any]) -> list[GradientSums]:
        if self.error:
            raise self.error
        assert references == ["there"]
        return [sums(2.0)]


class Trial:
    """An exchange on a cluster, its clock and its events."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch
        self.cluster = Cluster()
        self.events: list[ExecutorEvent] = []
        self.interrupted = False
        self._exchange: Exchange | None = None

    def ray(self, ray: Ray) -> None:
        self._patch.setattr(exchange_module, "ray", ray)

    def values(self, parameters: Any = LARGE, from_nodes: int = 2) -> list[float]:
        """The value of each part's sum."""
        if self._exchange is None:
            group: Any = self.cluster
            self._exchange = Exchange(
                group,
                group,
                siblings_from_nodes=from_nodes,
                heartbeat_timeout_seconds=1.0,
                interrupted=lambda: self.interrupted,
                emit=self.events.append,
            )
        parts = self._exchange.gradient_sums(3, parameters, RANGES, None)
        return [float(node.sum.gradient[0]) for each in parts for node in each.nodes]

    def reasons(self) -> list[Any]:
        return [(event.event, event.data.get("reason")) for event in self.events]


@pytest.fixture
def trial(monkeypatch: pytest.MonkeyPatch) -> Trial:
    found = Trial(monkeypatch)
    found.ray(Ray())
    return found


@pytest.mark.parametrize(
    ("parameters", "from_nodes", "shared"), [(LARGE, 2, True), (SMALL, 2, False), (LARGE, 3, False)]
)
def test_large_parameters_are_shared_from_a_number_of_nodes_on(
    trial: Trial, parameters: Any, from_nodes: int, *, shared: bool
) -> None:
    assert trial.values(parameters, from_nodes) == [1.0, 2.0]
    assert trial.cluster.requests == [shared]
    assert trial.cluster.connections.released == shared
    assert len(trial.cluster.connections.counted) == shared
    assert not trial.events


@pytest.mark.parametrize("reason", ["died", "silent"])
def test_a_lost_request_is_computed_again_through_the_coordinator(
    trial: Trial, reason: str
) -> None:
    trial.cluster.lost = RequestLost(reason, "worker 1 is gone")
    assert trial.values() == [1.0, 2.0]
    assert trial.cluster.requests == [True, False]
    [event] = trial.events
    assert (event.event, event.data["reason"], event.data["microbatches"]) == ("retry", reason, 2)
    assert "worker 1 is gone" in event.data["detail"]
    trial.cluster.lost = None
    assert trial.values() == [1.0, 2.0]
    assert trial.cluster.requests == [True, False, True]


def test_sums_that_are_gone_lose_the_request(trial: Trial) -> None:
    trial.ray(Ray(error=ActorDiedError()))
    assert trial.values() == [1.0, 2.0]
    assert trial.reasons() == [("retry", "died")]


def test_nodes_that_do_not_reach_each_other_share_nothing_any_more(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial.ray(Ray(waits=10**9))
    clock = iter(range(0, 10**6, 5))
    monkeypatch.setattr(exchange_module, "monotonic", lambda: next(clock))
    assert trial.values() == [1.0, 2.0]
    assert trial.reasons() == [("warning", None), ("retry", "stuck")]
    assert not trial.cluster.removed
    assert trial.values() == [1.0, 2.0]
    assert trial.cluster.requests == [True, False, False]


@pytest.mark.parametrize("relied_on", [True, False])
def test_a_silent_worker_loses_the_request_if_others_rely_on_it(
    trial: Trial, *, relied_on: bool
) -> None:
    trial.ray(Ray(waits=2))
    worker = trial.cluster.alive[1]
    worker.connection.relied_on = relied_on
    trial.cluster.silent = [worker]
    assert trial.values() == [1.0, 2.0]
    assert trial.cluster.removed == [(1, "silent")]
    assert trial.reasons() == [("retry", "silent")] * relied_on


def test_an_interrupt_ends_the_wait_for_sums(trial: Trial) -> None:
    trial.ray(Ray(waits=10**9))
    trial.interrupted = True
    with pytest.raises(Interrupted):
        trial.values()
    assert trial.cluster.connections.released == 1
