"""When `auto` changes over, and to what."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from threadpoolctl import threadpool_limits

from batchgrad_engine.executors.auto.configs import (
    ParallelConfig,
    could_win_seconds,
    fastest,
    ray_plans,
)
from batchgrad_engine.executors.protocol import Interrupted
from batchgrad_workers.runtime.shard import WorkerConfig
from tests.engine.autos import FULL, Clock, Cluster, auto, plans, train
from tests.workers.jobs import M, store, theta, worker_config


@pytest.fixture
def job(tmp_path: Path) -> Iterator[WorkerConfig]:
    with threadpool_limits(limits=1):
        yield worker_config(store(tmp_path))


def test_without_a_cluster_the_number_of_threads_is_chosen(job: WorkerConfig) -> None:
    clock = Clock()
    with closing(auto(job, clock, {1: 0.3, 2: 0.2})) as executor:
        [plan] = plans(train(job, executor, plans))
        assert (executor.kind, executor.workers, executor.threads) == ("inline", 0, 2)
    assert plan["milliseconds"] == pytest.approx(
        {"inline, 1 thread": 300, "inline, 2 threads": 200}
    )
    assert (plan["executor"], plan["threads"]) == ("inline", 2)


def test_ray_takes_over_in_the_background_when_it_is_faster(job: WorkerConfig) -> None:
    clock = Clock()
    cluster = Cluster(job, clock, {ParallelConfig(4, 1): 0.1})
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


def test_ray_is_dismissed_when_it_is_slower(job: WorkerConfig) -> None:
    clock = Clock()
    cluster = Cluster(job, clock, {ParallelConfig(4, 1): 0.29})
    cluster.comes.set()
    with closing(auto(job, clock, {1: 0.3, 2: 0.3}, cluster)) as executor:
        [plan] = plans(train(job, executor, plans))
        assert (plan["executor"], executor.kind) == ("inline", "inline")  # 0.29 is not enough
        assert [crew.closed for crew in cluster.crews] == [True]


@pytest.mark.parametrize(
    ("seconds", "steps_planned"), [({1: 0.3, 2: 0.3}, 60), ({1: 0.4, 2: 0.1}, 10**6)], ids=str
)
def test_ray_is_left_alone_where_it_could_win_less_than_it_costs(
    job: WorkerConfig, seconds: dict[int, float], steps_planned: int
) -> None:
    clock = Clock()
    cluster = Cluster(job, clock, {}, cost_seconds=10.0)
    with closing(auto(job, clock, seconds, cluster, steps_planned=steps_planned)) as executor:
        [plan] = plans(train(job, executor, plans))
    assert cluster.looks == 0
    assert "Ray was not tried: it could save " in plan["because"]


def test_ray_that_fails_is_a_warning_and_the_step_is_done_without_it(job: WorkerConfig) -> None:
    clock = Clock()
    cluster = Cluster(job, clock, {ParallelConfig(4, 1): 0.1}, breaks_at=12)
    cluster.comes.set()
    with closing(auto(job, clock, {1: 0.3, 2: 0.3}, cluster)) as executor:
        happened = train(job, executor, lambda all_: any(each.event == "warning" for each in all_))
        assert executor.kind == "inline"
        [text] = [each.data["detail"] for each in happened if each.event == "warning"]
        assert "ClusterLost: the head is gone." in text
        assert [plan["executor"] for plan in plans(happened)] == ["ray", "inline"]
        assert cluster.crews[0].closed


def test_a_cluster_that_comes_back_is_used_again(job: WorkerConfig) -> None:
    clock = Clock()
    cluster = Cluster(job, clock, {ParallelConfig(4, 1): 0.1}, changes=True, breaks_at=12)
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


def test_no_cluster_to_be_had_is_a_warning(job: WorkerConfig) -> None:
    clock = Clock()
    cluster = Cluster(job, clock, {}, cpus_by_node={})
    with closing(auto(job, clock, {1: 0.3, 2: 0.3}, cluster)) as executor:
        happened = train(job, executor, plans)
    assert [each.event for each in happened] == ["warning", "plan"]
    assert "no room for Ray" in happened[0].data["detail"]


def test_other_nodes_are_a_reason_to_look_again(job: WorkerConfig) -> None:
    clock = Clock()
    seconds = {ParallelConfig(4, 1): 0.29, ParallelConfig(8, 1): 0.05, ParallelConfig(2, 4): 0.2}
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


def test_nobody_waits_for_a_cluster_at_the_end(job: WorkerConfig) -> None:
    clock = Clock()
    cluster = Cluster(job, clock, {}, unheard=True)
    with closing(auto(job, clock, {1: 0.3, 2: 0.3}, cluster)) as executor:
        train(job, executor, lambda _: cluster.looks)
        assert executor._lookout is not None
        [survey] = executor._lookout.pending
    assert isinstance(survey.exception(0), Interrupted)


def test_who_is_still_coming_is_sent_away_at_the_end(job: WorkerConfig) -> None:
    clock = Clock()
    cluster = Cluster(job, clock, {ParallelConfig(4, 1): 0.1})
    with closing(auto(job, clock, {1: 0.3, 2: 0.3}, cluster)) as executor:
        train(job, executor, lambda _: executor._coming is not None)
    assert cluster.left
    assert not cluster.crews


def test_plans_for_ray() -> None:
    assert ray_plans("auto", [2], 8) == [ParallelConfig(2, 1)]
    assert ray_plans("auto", [4, 8], 8) == [ParallelConfig(8, 1), ParallelConfig(2, 4)]
    assert ray_plans("auto", [4], 1) == [ParallelConfig(1, 1)]
    assert ray_plans(3, [8, 2], 50) == [ParallelConfig(2, 3)]
    assert ray_plans(16, [8, 2], 50) == []


def test_what_ray_could_win() -> None:
    seconds = {ParallelConfig(0, 1): 0.8, ParallelConfig(0, 2): 0.5}
    figures = {"steps_left": 100, "microbatches": 8}
    assert could_win_seconds(seconds, cpus=2, **figures) == pytest.approx(10)
    assert could_win_seconds(seconds, cpus=None, **figures) == pytest.approx(40)
    assert could_win_seconds(seconds, cpus=1, **figures) == 0
    assert (
        could_win_seconds({ParallelConfig(0, 1): 0.8}, steps_left=9, microbatches=1, cpus=64) == 0
    )
    assert fastest(seconds | {ParallelConfig(2, 1): 0.49}) == ParallelConfig(0, 2)
    assert fastest(seconds | {ParallelConfig(2, 1): 0.4}) == ParallelConfig(2, 1)
