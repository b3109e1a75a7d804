"""Switches of `auto` to another executor: their time and their choice."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from threadpoolctl import threadpool_limits

from batchgrad_engine.executors.auto.configs import (
    ParallelConfig,
    fastest,
    max_saving_seconds,
    ray_configs,
)
from batchgrad_engine.executors.auto.state import TRANSITIONS, State, check_transition
from batchgrad_engine.executors.auto.tuner import Autotuner
from batchgrad_engine.executors.protocol import Interrupted
from batchgrad_workers.runtime.config import WorkerConfig
from tests.engine.autos import FULL, Clock, Cluster, auto, selected, train
from tests.workers.jobs import M, store, theta, worker_config


@pytest.fixture
def job(tmp_path: Path) -> Iterator[WorkerConfig]:
    with threadpool_limits(limits=1):
        yield worker_config(store(tmp_path))


def test_without_a_cluster_the_number_of_threads_is_selected(job: WorkerConfig) -> None:
    clock = Clock()
    with closing(auto(job, clock, {1: 0.3, 2: 0.2})) as executor:
        [choice] = selected(train(job, executor, selected))
        assert (executor.kind, executor.workers, executor.threads) == ("inline", 0, 2)
    assert choice["milliseconds"] == pytest.approx(
        {"inline, 1 thread": 300, "inline, 2 threads": 200}
    )
    assert (choice["executor"], choice["threads"]) == ("inline", 2)


def test_beside_ray_the_engine_alone_is_measured_anew() -> None:
    """An old time may be of a machine with less or more other work."""
    inline, ray = ParallelConfig(0, 1), ParallelConfig(4, 1)
    tuner = Autotuner([inline])
    assert measured(tuner, [0.1]) == {inline: 0.1}
    tuner.queue_ray([ray])
    assert measured(tuner, [0.2, 0.4]) == {ray: 0.2, inline: 0.4}
    assert measured(tuner, [0.3, 0.3, 0.1, 0.5]) == {ray: 0.1, inline: 0.3}


def measured(tuner: Autotuner, seconds: list[float]) -> dict[ParallelConfig, float]:
    """The best times after a turn of each of these."""
    for each in seconds:
        config = tuner.next_config()
        assert config is not None
        while not tuner.record(config, each):
            pass
    return tuner.seconds


def test_ray_is_used_when_its_workers_are_ready_and_faster(job: WorkerConfig) -> None:
    clock = Clock()
    cluster = Cluster(job, clock, {ParallelConfig(4, 1): 0.1})
    with closing(auto(job, clock, {1: 0.3, 2: 0.3}, cluster)) as executor:
        for step in FULL[:30]:
            executor.gradient_sums(step, theta(job), [(0, M)])
        assert executor.kind == "inline"  # no worker is ready, and no step waits for one
        cluster.ready.set()
        events = train(job, executor, selected)
        assert (executor.kind, executor.workers, executor.range_count) == ("ray", 4, 4)
        assert selected(events)[0]["executor"] == "ray"
        assert selected(events)[0]["milliseconds"]["4 Ray workers x 1 thread"] == pytest.approx(100)
    assert cluster.disconnected


def test_ray_workers_are_stopped_when_they_are_slower(job: WorkerConfig) -> None:
    clock = Clock()
    cluster = Cluster(job, clock, {ParallelConfig(4, 1): 0.29})
    cluster.ready.set()
    with closing(auto(job, clock, {1: 0.3, 2: 0.3}, cluster)) as executor:
        [choice] = selected(train(job, executor, selected))
        assert (choice["executor"], executor.kind) == ("inline", "inline")  # 0.29 is not enough
        assert [group.closed for group in cluster.groups] == [True]


@pytest.mark.parametrize(
    ("seconds", "steps_planned"), [({1: 0.3, 2: 0.3}, 60), ({1: 0.4, 2: 0.1}, 10**6)], ids=str
)
def test_ray_is_not_tried_where_it_could_save_less_than_it_costs(
    job: WorkerConfig, seconds: dict[int, float], steps_planned: int
) -> None:
    clock = Clock()
    cluster = Cluster(job, clock, {}, cost_seconds=10.0)
    with closing(auto(job, clock, seconds, cluster, steps_planned=steps_planned)) as executor:
        [choice] = selected(train(job, executor, selected))
    assert cluster.queries == 0
    assert "Ray was not tried: it could save " in choice["because"]


def test_a_failure_of_ray_is_a_warning_and_the_step_completes(job: WorkerConfig) -> None:
    clock = Clock()
    cluster = Cluster(job, clock, {ParallelConfig(4, 1): 0.1}, breaks_at=12)
    cluster.ready.set()
    with closing(auto(job, clock, {1: 0.3, 2: 0.3}, cluster)) as executor:
        events = train(job, executor, lambda all_: any(each.event == "warning" for each in all_))
        assert executor.kind == "inline"
        [text] = [each.data["detail"] for each in events if each.event == "warning"]
        assert text.startswith("Ray failed (ClusterLost: the head is gone); continuing without it.")
        assert [choice["executor"] for choice in selected(events)] == ["ray", "inline"]
        assert cluster.groups[0].closed


def test_a_cluster_that_comes_back_is_used_again(job: WorkerConfig) -> None:
    clock = Clock()
    cluster = Cluster(job, clock, {ParallelConfig(4, 1): 0.1}, is_elastic=True, breaks_at=12)
    cluster.ready.set()
    with closing(auto(job, clock, {1: 0.3, 2: 0.3}, cluster)) as executor:
        train(job, executor, lambda _: executor.kind == "ray")
        nodes, cluster.cpus_by_node = cluster.cpus_by_node, {}
        events = train(job, executor, lambda all_: any(each.event == "warning" for each in all_))
        [text] = [each.data["detail"] for each in events if each.event == "warning"]
        assert "trying the cluster again in 30 s" in text
        failed_at, queries = clock.now, cluster.queries
        events = train(job, executor, lambda all_: any(each.event == "warning" for each in all_))
        assert clock.now - failed_at > 30
        assert cluster.queries == queries + 1
        assert "again in 60 s" in events[0].data["detail"]
        cluster.cpus_by_node, cluster.breaks_at = nodes, -1
        clock.now += 50
        [choice] = selected(train(job, executor, selected))
        assert choice["executor"] == "ray"
        assert clock.now - failed_at > 90
        assert cluster.disconnected  # from the old head


def test_a_cluster_that_does_not_start_is_a_warning(job: WorkerConfig) -> None:
    clock = Clock()
    cluster = Cluster(job, clock, {}, cpus_by_node={})
    with closing(auto(job, clock, {1: 0.3, 2: 0.3}, cluster)) as executor:
        events = train(job, executor, selected)
    assert [each.event for each in events] == ["warning", "executor"]
    assert "no room for Ray" in events[0].data["detail"]


def test_ray_is_measured_again_when_nodes_join(job: WorkerConfig) -> None:
    clock = Clock()
    seconds = {ParallelConfig(4, 1): 0.29, ParallelConfig(8, 1): 0.05, ParallelConfig(2, 4): 0.2}
    cluster = Cluster(job, clock, seconds, is_elastic=True, cpus=None)
    cluster.ready.set()
    with closing(auto(job, clock, {1: 0.3, 2: 0.3}, cluster)) as executor:
        train(job, executor, selected)
        assert executor.kind == "inline"
        cluster.cpus_by_node["b"] = 4
        [choice] = selected(train(job, executor, selected))
        assert choice["workers"] == 8
        train(job, executor, lambda _: executor.workers == 8)
        measured = ["inline, 1 thread", "inline, 2 threads"]
        ray = ["2 Ray workers x 4 threads", "8 Ray workers x 1 thread"]
        assert sorted(choice["milliseconds"]) == sorted([*measured, *ray])
        # From now on its worker group follows the cluster by itself.
        cluster.cpus_by_node["c"] = 4
        queries = cluster.queries
        train(job, executor, lambda _: cluster.queries > queries + 1)
        assert executor.workers == 8
    assert len(cluster.groups) == 4  # with 4 workers; 8; 2 x 4 threads; 8 again
    assert all(group.closed for group in cluster.groups)


def test_close_interrupts_a_query_of_the_cluster(job: WorkerConfig) -> None:
    clock = Clock()
    cluster = Cluster(job, clock, {}, unreachable=True)
    with closing(auto(job, clock, {1: 0.3, 2: 0.3}, cluster)) as executor:
        train(job, executor, lambda _: cluster.queries)
        assert executor.selector._monitor is not None
        [query] = executor.selector._monitor.pending
    assert isinstance(query.exception(0), Interrupted)


def test_close_stops_workers_that_are_starting(job: WorkerConfig) -> None:
    clock = Clock()
    cluster = Cluster(job, clock, {ParallelConfig(4, 1): 0.1})
    with closing(auto(job, clock, {1: 0.3, 2: 0.3}, cluster)) as executor:
        train(job, executor, lambda _: executor.selector.state is State.STARTING)
    assert cluster.disconnected
    assert not cluster.groups


def test_every_transition_of_the_table_is_taken(job: WorkerConfig) -> None:
    clock = Clock()
    seconds = {ParallelConfig(4, 1): 0.29, ParallelConfig(8, 1): 0.05, ParallelConfig(2, 4): 0.2}
    growing = Cluster(job, clock, seconds, is_elastic=True, cpus=None)
    growing.ready.set()
    with closing(auto(job, clock, {1: 0.3, 2: 0.3}, growing)) as executor:
        train(job, executor, selected)
        growing.cpus_by_node["b"] = 4
        train(
            job,
            executor,
            lambda _: executor.workers == 8 and executor.selector.state is State.SETTLED,
        )
        growing.groups[-1].breaks_in = 1
        train(job, executor, selected)
        taken = executor.transitions
    missing = Cluster(job, clock, {}, cpus_by_node={})
    with closing(auto(job, clock, {1: 0.3, 2: 0.3}, missing)) as executor:
        train(job, executor, selected)
        taken |= executor.transitions
    assert taken == {(before, after) for before in TRANSITIONS for after in TRANSITIONS[before]}


def test_other_transitions_are_refused() -> None:
    with pytest.raises(RuntimeError, match="from connecting to starting, settled; not to meas"):
        check_transition(State.CONNECTING, State.MEASURING)


def test_the_page_on_scheduling_has_the_table_of_transitions() -> None:
    page = (Path(__file__).parents[2] / "docs" / "explanation" / "scheduling.md").read_text()
    _, rows = page.split("| from | to | when |\n|---|---|---|\n")
    assert rows.split("\n\n")[0].splitlines() == [
        f"| {before.value} | {after.value} | {when} |"
        for before in TRANSITIONS
        for after, when in TRANSITIONS[before].items()
    ]


def test_configurations_for_ray() -> None:
    assert ray_configs("auto", [2], 8) == [ParallelConfig(2, 1)]
    assert ray_configs("auto", [4, 8], 8) == [ParallelConfig(8, 1), ParallelConfig(2, 4)]
    assert ray_configs("auto", [4], 1) == [ParallelConfig(1, 1)]
    assert ray_configs(3, [8, 2], 50) == [ParallelConfig(2, 3)]
    assert ray_configs(16, [8, 2], 50) == []


def test_the_most_that_ray_could_save() -> None:
    seconds = {ParallelConfig(0, 1): 0.8, ParallelConfig(0, 2): 0.5}
    figures = {"steps_left": 100, "microbatches": 8}
    assert max_saving_seconds(seconds, cpus=2, **figures) == pytest.approx(10)
    assert max_saving_seconds(seconds, cpus=None, **figures) == pytest.approx(40)
    assert max_saving_seconds(seconds, cpus=1, **figures) == 0
    assert (
        max_saving_seconds({ParallelConfig(0, 1): 0.8}, steps_left=9, microbatches=1, cpus=64) == 0
    )
    assert fastest(seconds | {ParallelConfig(2, 1): 0.49}) == ParallelConfig(0, 2)
    assert fastest(seconds | {ParallelConfig(2, 1): 0.4}) == ParallelConfig(2, 1)
