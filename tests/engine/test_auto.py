"""`auto` on a clock that the executors themselves move; bits are real, Ray is not."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from threadpoolctl import threadpool_limits

from batchgrad_service.engine.executors.auto import AutoExecutor
from batchgrad_service.engine.executors.inline import InlineExecutor
from batchgrad_service.engine.executors.plans import Plan, could_win_seconds, fastest, ray_plans
from batchgrad_service.engine.executors.protocol import (
    ClusterLost,
    Executor,
    Happening,
    Interrupted,
    Kind,
    Range,
)
from batchgrad_service.engine.sharding import assign
from batchgrad_workers.arrays import Array
from batchgrad_workers.gradients import GradientSums
from batchgrad_workers.partial import Tree
from batchgrad_workers.shard import RangeSums, Setup
from tests.workers.jobs import M, bits, setup, store, theta, whole

FULL = range(0, 400, 2)
"""Every other step has a short minibatch."""


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


class Timed(InlineExecutor):
    """Takes as long as it is told to, by the number of threads."""

    def __init__(self, of: Setup, clock: Clock, seconds: Mapping[int, float]) -> None:
        super().__init__(of, 1)
        self._clock, self._takes = clock, seconds

    def gradient_sums(
        self, step: int, parameters: Array, ranges: Sequence[Range]
    ) -> list[RangeSums[GradientSums]]:
        self._clock.now += self._takes[self.threads]
        return super().gradient_sums(step, parameters, ranges)


class Crew(Timed):
    """What a cluster hires out; breaks at its `breaks_at`-th step."""

    kind: Kind = "ray"

    def __init__(self, of: Setup, clock: Clock, seconds: float, plan: Plan, breaks_at: int) -> None:
        super().__init__(of, clock, {1: seconds})
        self.workers = self.shares = plan.workers
        self.breaks_in = breaks_at
        self.closed = False

    def gradient_sums(
        self, step: int, parameters: Array, ranges: Sequence[Range]
    ) -> list[RangeSums[GradientSums]]:
        self.breaks_in -= 1
        if self.breaks_in == 0:
            raise ClusterLost("the head is gone.")
        return super().gradient_sums(step, parameters, ranges)

    def close(self) -> None:
        assert not self.closed
        self.closed = True
        super().close()


@dataclass
class Cluster:
    """`seconds` is what a step takes its crews, by plan."""

    of: Setup
    clock: Clock
    seconds: dict[Plan, float]
    cost_seconds: float = 1.0
    cpus: int | None = 4
    changes: bool = False
    cpus_by_node: dict[str, int] = field(default_factory=lambda: {"a": 4})
    breaks_at: int = -1
    unheard: bool = False
    looks: int = 0
    left: bool = False
    crews: list[Crew] = field(default_factory=list)
    comes: threading.Event = field(default_factory=threading.Event)

    def nodes(self, interrupted: Callable[[], bool]) -> Mapping[str, int]:
        self.looks += 1
        while self.unheard and not interrupted():
            threading.Event().wait(0.01)
        if self.unheard:
            raise Interrupted
        if not self.cpus_by_node:
            raise ClusterLost("no room for Ray.")
        return dict(self.cpus_by_node)

    def hire(self, plan: Plan, interrupted: Callable[[], bool]) -> Executor:
        while not self.comes.wait(0.01):
            if interrupted():
                raise Interrupted
        crew = Crew(self.of, self.clock, self.seconds[plan], plan, self.breaks_at)
        self.crews.append(crew)
        return crew

    def leave(self) -> None:
        assert all(crew.closed for crew in self.crews)
        self.left = True


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Setup]:
    with threadpool_limits(limits=1):
        yield setup(store(tmp_path))


class Auto(AutoExecutor):
    """Keeps what it tells."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.told: list[Happening] = []
        super().__init__(*arguments, tell=self.told.append, **options)


def auto(
    of: Setup,
    clock: Clock,
    seconds: Mapping[int, float],
    cluster: Cluster | None = None,
    *,
    threads: Any = "auto",
    steps_planned: int = 10**6,
) -> Auto:
    return Auto(
        Timed(of, clock, seconds),
        cluster,
        threads=threads,
        cores=2,
        microbatches=M,
        steps_planned=steps_planned,
        interrupted=lambda: False,
        clock=clock,
    )


def train(of: Setup, executor: Auto, until: Callable[[list[Happening]], Any]) -> list[Happening]:
    """Steps, each compared bit by bit, until it has happened."""
    executor.told.clear()
    pause = threading.Event()
    for step in FULL:
        parts = executor.gradient_sums(step, theta(of), assign(M, executor.shares))
        tree: Tree[GradientSums] = Tree(M, GradientSums.join)
        for part in parts:
            for node in part.nodes:
                tree.add(node.level, node.index, node.sum)
        assert bits(tree.root()) == bits(whole(of, step=step)[0])
        if until(executor.told):
            return [*executor.told]
        pause.wait(0.005)  # others work in the background
    raise AssertionError(executor.told)


def plans(happened: list[Happening]) -> list[dict[str, Any]]:
    return [each.data for each in happened if each.event == "plan"]


def test_without_a_cluster_the_number_of_threads_is_chosen(job: Setup) -> None:
    clock = Clock()
    with closing(auto(job, clock, {1: 0.3, 2: 0.2})) as executor:
        [plan] = plans(train(job, executor, plans))
        assert (executor.kind, executor.workers, executor.threads) == ("inline", 0, 2)
    assert plan["milliseconds"] == pytest.approx(
        {"inline, 1 thread": 300, "inline, 2 threads": 200}
    )
    assert (plan["executor"], plan["threads"]) == ("inline", 2)


def test_ray_takes_over_in_the_background_when_it_is_faster(job: Setup) -> None:
    clock = Clock()
    cluster = Cluster(job, clock, {Plan(4, 1): 0.1})
    with closing(auto(job, clock, {1: 0.3, 2: 0.3}, cluster)) as executor:
        for step in FULL[:30]:
            executor.gradient_sums(step, theta(job), [(0, M)])
        assert executor.kind == "inline"  # nobody has come, and nobody is waited for
        cluster.comes.set()
        happened = train(job, executor, plans)
        assert (executor.kind, executor.workers, executor.shares) == ("ray", 4, 4)
        assert plans(happened)[0]["executor"] == "ray"
        assert plans(happened)[0]["milliseconds"]["4 Ray workers x 1 thread"] == pytest.approx(100)
    assert cluster.left


def test_ray_is_dismissed_when_it_is_slower(job: Setup) -> None:
    clock = Clock()
    cluster = Cluster(job, clock, {Plan(4, 1): 0.29})
    cluster.comes.set()
    with closing(auto(job, clock, {1: 0.3, 2: 0.3}, cluster)) as executor:
        [plan] = plans(train(job, executor, plans))
        assert (plan["executor"], executor.kind) == ("inline", "inline")  # 0.29 is not enough
        assert [crew.closed for crew in cluster.crews] == [True]


@pytest.mark.parametrize(
    ("seconds", "steps_planned"), [({1: 0.3, 2: 0.3}, 60), ({1: 0.4, 2: 0.1}, 10**6)], ids=str
)
def test_ray_is_left_alone_where_it_could_win_less_than_it_costs(
    job: Setup, seconds: dict[int, float], steps_planned: int
) -> None:
    clock = Clock()
    cluster = Cluster(job, clock, {}, cost_seconds=10.0)
    with closing(auto(job, clock, seconds, cluster, steps_planned=steps_planned)) as executor:
        [plan] = plans(train(job, executor, plans))
    assert cluster.looks == 0
    assert "Ray was not tried: it could save " in plan["because"]


def test_ray_that_fails_is_a_warning_and_the_step_is_done_without_it(job: Setup) -> None:
    clock = Clock()
    cluster = Cluster(job, clock, {Plan(4, 1): 0.1}, breaks_at=12)
    cluster.comes.set()
    with closing(auto(job, clock, {1: 0.3, 2: 0.3}, cluster)) as executor:
        happened = train(job, executor, lambda all_: any(each.event == "warning" for each in all_))
        assert executor.kind == "inline"
        [text] = [each.data["detail"] for each in happened if each.event == "warning"]
        assert "ClusterLost: the head is gone." in text
        assert [plan["executor"] for plan in plans(happened)] == ["ray", "inline"]
        assert cluster.crews[0].closed


def test_a_cluster_that_comes_back_is_used_again(job: Setup) -> None:
    clock = Clock()
    cluster = Cluster(job, clock, {Plan(4, 1): 0.1}, changes=True, breaks_at=12)
    cluster.comes.set()
    with closing(auto(job, clock, {1: 0.3, 2: 0.3}, cluster)) as executor:
        train(job, executor, lambda _: executor.kind == "ray")
        nodes, cluster.cpus_by_node = cluster.cpus_by_node, {}
        happened = train(job, executor, lambda all_: any(each.event == "warning" for each in all_))
        [text] = [each.data["detail"] for each in happened if each.event == "warning"]
        assert "looks at the cluster again in 30 s" in text
        failed_at, looks = clock.now, cluster.looks
        happened = train(job, executor, lambda all_: any(each.event == "warning" for each in all_))
        assert clock.now - failed_at > 30
        assert cluster.looks == looks + 1
        assert "again in 60 s" in happened[0].data["detail"]
        cluster.cpus_by_node, cluster.breaks_at = nodes, -1
        clock.now += 50
        [plan] = plans(train(job, executor, plans))
        assert plan["executor"] == "ray"
        assert clock.now - failed_at > 90
        assert cluster.left  # by its old connection


def test_no_cluster_to_be_had_is_a_warning(job: Setup) -> None:
    clock = Clock()
    cluster = Cluster(job, clock, {}, cpus_by_node={})
    with closing(auto(job, clock, {1: 0.3, 2: 0.3}, cluster)) as executor:
        happened = train(job, executor, plans)
    assert [each.event for each in happened] == ["warning", "plan"]
    assert "no room for Ray" in happened[0].data["detail"]


def test_other_nodes_are_a_reason_to_look_again(job: Setup) -> None:
    clock = Clock()
    seconds = {Plan(4, 1): 0.29, Plan(8, 1): 0.05, Plan(2, 4): 0.2}
    cluster = Cluster(job, clock, seconds, changes=True, cpus=None)
    cluster.comes.set()
    with closing(auto(job, clock, {1: 0.3, 2: 0.3}, cluster)) as executor:
        train(job, executor, plans)
        assert executor.kind == "inline"
        cluster.cpus_by_node["b"] = 4
        [plan] = plans(train(job, executor, plans))
        assert plan["workers"] == 8
        train(job, executor, lambda _: executor.workers == 8)
        measured = ["inline, 1 thread", "inline, 2 threads"]
        ray = ["2 Ray workers x 4 threads", "8 Ray workers x 1 thread"]
        assert sorted(plan["milliseconds"]) == sorted([*measured, *ray])
        # From now on its crew follows the cluster by itself.
        cluster.cpus_by_node["c"] = 4
        looks = cluster.looks
        train(job, executor, lambda _: cluster.looks > looks + 1)
        assert executor.workers == 8
    assert len(cluster.crews) == 4  # of 4; of 8; of 2 x 4; and those of 8 again
    assert all(crew.closed for crew in cluster.crews)


def test_nobody_waits_for_a_cluster_at_the_end(job: Setup) -> None:
    clock = Clock()
    cluster = Cluster(job, clock, {}, unheard=True)
    with closing(auto(job, clock, {1: 0.3, 2: 0.3}, cluster)) as executor:
        train(job, executor, lambda _: cluster.looks)
        survey = executor._survey
    assert survey is not None
    assert isinstance(survey.exception(0), Interrupted)


def test_who_is_still_coming_is_sent_away_at_the_end(job: Setup) -> None:
    clock = Clock()
    cluster = Cluster(job, clock, {Plan(4, 1): 0.1})
    with closing(auto(job, clock, {1: 0.3, 2: 0.3}, cluster)) as executor:
        train(job, executor, lambda _: executor._coming is not None)
    assert cluster.left
    assert not cluster.crews


def test_plans_for_ray() -> None:
    assert ray_plans("auto", [2], 8) == [Plan(2, 1)]
    assert ray_plans("auto", [4, 8], 8) == [Plan(8, 1), Plan(2, 4)]
    assert ray_plans("auto", [4], 1) == [Plan(1, 1)]
    assert ray_plans(3, [8, 2], 50) == [Plan(2, 3)]
    assert ray_plans(16, [8, 2], 50) == []


def test_what_ray_could_win() -> None:
    seconds = {Plan(0, 1): 0.8, Plan(0, 2): 0.5}
    figures = {"steps_left": 100, "microbatches": 8}
    assert could_win_seconds(seconds, cpus=2, **figures) == pytest.approx(10)
    assert could_win_seconds(seconds, cpus=None, **figures) == pytest.approx(40)
    assert could_win_seconds(seconds, cpus=1, **figures) == 0
    assert could_win_seconds({Plan(0, 1): 0.8}, steps_left=9, microbatches=1, cpus=64) == 0
    assert fastest(seconds | {Plan(2, 1): 0.49}) == Plan(0, 2)
    assert fastest(seconds | {Plan(2, 1): 0.4}) == Plan(2, 1)
