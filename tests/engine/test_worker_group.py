"""Where and when workers start, how long a group waits for them, and its events; no Ray."""

from contextlib import closing
from functools import partial
from itertools import pairwise

import pytest

from batchgrad_engine.executors.protocol import ClusterLost, Interrupted
from batchgrad_engine.executors.ray.pending_workers import StartTimer
from batchgrad_engine.executors.ray.placement import Nodes, WorkerSlot, one_per_node
from batchgrad_engine.executors.ray.protocol import StartFailed, StartTimedOut
from batchgrad_engine.executors.ray.worker_group import WorkerGroup
from batchgrad_engine.failures import NoWorkers
from tests.engine.worker_groups import FakeCluster, FakeWorker

ONE_PER_NODE = partial(one_per_node, min_workers=1, max_workers=9, threads="auto")
TWO = Nodes({"a": 2, "b": 2})


def slots_of(group: WorkerGroup[FakeWorker]) -> list[WorkerSlot]:
    return sorted(worker.slot for worker in group.alive)


def test_every_slot_has_a_worker_and_a_lost_one_is_replaced() -> None:
    cluster = FakeCluster(TWO)
    with closing(cluster.group(ONE_PER_NODE)) as group:
        group.wait_for_all()
        assert slots_of(group) == [WorkerSlot("a", 2, 2), WorkerSlot("b", 2, 2)]
        group.remove(group.alive[0], "died", "killed")
        cluster.run_steps(group, 2)
        assert slots_of(group) == [WorkerSlot("a", 2, 2), WorkerSlot("b", 2, 2)]
    assert [each["reason"] for each in cluster.data_of("worker_lost")] == ["died"]
    assert len(cluster.data_of("worker_joined")) == 3
    assert not cluster.running()


def test_a_group_waits_for_free_cpus_and_warns_once() -> None:
    cluster = FakeCluster(TWO, taken=1)
    cluster.later.append((cluster.now + 3600, partial(setattr, cluster, "taken", 0)))
    with closing(cluster.group(ONE_PER_NODE)) as group:
        group.wait_for_all()
        assert slots_of(group) == [WorkerSlot("a", 2, 2), WorkerSlot("b", 2, 2)]
    assert cluster.now < 1000 + 3610
    assert len(cluster.started) == 2  # none was started again meanwhile
    [warning] = cluster.data_of("warning")
    assert "no CPUs free" in warning["detail"]


def test_a_group_with_one_worker_starts_without_one_that_waits_for_cpus() -> None:
    cluster = FakeCluster(Nodes({"a": 4}))
    with closing(cluster.group(lambda _: [WorkerSlot("a", 3, 3)] * 2, min_workers=2)) as group:
        group.wait_for_all()
        assert len(group.alive) == 1
    assert cluster.now < 1000 + 62
    [warning] = cluster.data_of("warning")
    assert warning["detail"].startswith("Some of the 2 Ray workers have no CPUs")


def test_a_group_waits_for_a_cluster_without_nodes() -> None:
    cluster = FakeCluster(Nodes())
    cluster.later.append((cluster.now + 600, partial(setattr, cluster, "nodes", TWO)))
    with closing(cluster.group(ONE_PER_NODE)) as group:
        group.wait_for_all()
        assert len(group.alive) == 2


def test_a_node_that_dies_while_a_group_waits_for_its_cpus_is_no_failure() -> None:
    cluster = FakeCluster(Nodes({"a": 2}), taken=1)

    def gone() -> None:
        cluster.broken["a"] = StartFailed("its node died")  # seen only after a while
        cluster.later.append((cluster.now + 10, there_is_another))

    def there_is_another() -> None:
        cluster.nodes, cluster.taken = Nodes({"b": 3}), 0

    cluster.later.append((cluster.now + 600, gone))
    with closing(cluster.group(ONE_PER_NODE)) as group:
        group.wait_for_all()
        assert slots_of(group) == [WorkerSlot("b", 3, 3)]


def test_an_interrupt_ends_the_wait_for_cpus() -> None:
    cluster = FakeCluster(TWO, taken=1)
    group = cluster.group(ONE_PER_NODE, interrupted=lambda: cluster.now > 1100)
    with closing(group), pytest.raises(Interrupted):
        group.wait_for_all()


def test_a_worker_that_no_node_could_hold_is_an_error() -> None:
    cluster = FakeCluster(TWO)
    slots = [WorkerSlot("", 8, 8)] * 3
    with (
        closing(cluster.group(lambda _: slots)) as group,
        pytest.raises(
            NoWorkers, match=r"None of 3 .* 60 s: one needs 8 CPUs .* largest node has 2"
        ),
    ):
        group.wait_for_all()
    assert not cluster.data_of("warning")


def test_the_error_names_the_reason_why_workers_failed_to_start() -> None:
    cluster = FakeCluster(TWO, broken=dict.fromkeys("ab", StartFailed("OSError: no dataset.")))
    with closing(cluster.group(ONE_PER_NODE)) as group, pytest.raises(NoWorkers) as failure:
        group.wait_for_all()
    assert str(failure.value) == "None of 2 Ray workers started within 60 s: OSError: no dataset."


def test_a_cluster_counts_as_lost_when_all_workers_are_lost_and_none_starts() -> None:
    cluster = FakeCluster(TWO)
    with closing(cluster.group(ONE_PER_NODE)) as group:
        group.wait_for_all()
        cluster.taken = 1  # as after a restart of Ray, which an old driver does not notice
        for worker in list(group.alive):
            group.remove(worker, "died", "")
        with pytest.raises(ClusterLost, match="after all were lost"):
            group.wait_for_worker()


def test_a_cluster_that_ends_while_workers_start_is_lost_at_once() -> None:
    cluster = FakeCluster(TWO, seconds=30.0)
    cluster.later.append((cluster.now + 10, partial(setattr, cluster, "gone", True)))
    with (
        closing(cluster.group(ONE_PER_NODE)) as group,
        pytest.raises(ClusterLost, match="no Ray head"),
    ):
        group.wait_for_all()
    assert cluster.now < 1000 + 12


def test_a_cluster_that_starts_nothing_and_gives_no_reason_counts_as_lost() -> None:
    """A restarted head does so for a driver of the old one."""
    cluster = FakeCluster(
        TWO, broken={"a": StartTimedOut("it did not start within 60 s")}, seconds=1e6
    )
    with (
        closing(cluster.group(ONE_PER_NODE)) as group,
        pytest.raises(ClusterLost, match="gives no reason"),
    ):
        group.wait_for_all()
    assert cluster.now < 1000 + 62
    cluster.broken["b"] = StartFailed("MemoryError")  # this is a reason
    with (
        closing(cluster.group(ONE_PER_NODE)) as group,
        pytest.raises(NoWorkers, match="60 s: MemoryErr"),
    ):
        group.wait_for_all()


def test_a_slot_that_fails_is_retried_less_and_less_often() -> None:
    cluster = FakeCluster(TWO, broken={"b": StartFailed("OSError: no dataset.")})
    with closing(cluster.group(ONE_PER_NODE)) as group:
        group.wait_for_all()
        cluster.run_steps(group, 3600)
        tries = [at for at, worker in cluster.started if worker.slot.node == "b"]
        pauses = [round(later - at) for at, later in pairwise(tries)]
        assert pauses[:8] == [2, 4, 8, 16, 32, 64, 128, 256]
        assert set(pauses[8:]) == {300}
        [lost] = cluster.data_of("worker_lost")
        assert (lost["reason"], lost["detail"]) == ("start_failed", "OSError: no dataset.")
        # The worker of the other node is still replaced at once.
        group.remove(group.alive[0], "died", "")
        cluster.run_steps(group, 1)
        assert slots_of(group) == [WorkerSlot("a", 2, 2)]
        # A new failure makes an event; a worker that is ready resets the failures of its node.
        cluster.broken["b"] = StartFailed("MemoryError")
        cluster.run_steps(group, 301)
        del cluster.broken["b"]
        cluster.run_steps(group, 301)
        assert len(group.alive) == 2
        cluster.broken["b"] = StartFailed("MemoryError")
        group.remove(group.alive[1], "died", "")
        cluster.run_steps(group, 1)
    reasons = [each["detail"] for each in cluster.data_of("worker_lost")]
    assert reasons == ["OSError: no dataset.", "", "MemoryError", "", "MemoryError"]


def test_slots_on_any_node_do_not_wait_for_one_that_failed() -> None:
    cluster = FakeCluster(Nodes({"": 9}))
    with closing(cluster.group(lambda _: [WorkerSlot("", 1, 1)] * 3, min_workers=3)) as group:
        group.wait_for_all()
        cluster.broken[""] = StartFailed("no dataset")
        group.remove(group.alive[0], "died", "")
        group.match_slots()
        cluster.broken.clear()
        group.remove(group.alive[0], "died", "")
        cluster.run_steps(group, 1)
        assert len(group.alive) == 2
        cluster.run_steps(group, 2)
        assert len(group.alive) == 3


def test_a_group_is_never_empty_while_it_moves_to_a_new_node() -> None:
    cluster = FakeCluster(Nodes({"a": 4}), seconds=1.0)
    four = partial(one_per_node, min_workers=4, max_workers=8, threads="auto")
    with closing(cluster.group(four, min_workers=4)) as group:
        group.wait_for_all()
        assert slots_of(group) == [WorkerSlot("a", 1, 1)] * 4
        cluster.nodes = Nodes({"a": 4, "b": 4})
        for _ in range(50):
            cluster.run_steps(group, 0.1)
            assert group.alive
        assert slots_of(group) == [*[WorkerSlot("a", 2, 2)] * 2, *[WorkerSlot("b", 2, 2)] * 2]
    lost = cluster.data_of("worker_lost")
    assert [each["reason"] for each in lost] == ["dismissed"] * 4


def test_a_worker_without_a_slot_is_stopped_when_its_replacement_has_no_room() -> None:
    cluster = FakeCluster(Nodes({"a": 2, "b": 2}), seconds=1.0)
    two = partial(one_per_node, min_workers=2, max_workers=8, threads="auto")
    with closing(cluster.group(two, min_workers=2)) as group:
        group.wait_for_all()
        cluster.nodes = Nodes({"a": 2})
        cluster.run_steps(group, 5)
        assert slots_of(group) == [WorkerSlot("a", 2, 2)]
        cluster.run_steps(group, 10)
        assert slots_of(group) == [WorkerSlot("a", 1, 1)] * 2


def test_the_start_timer_runs_only_while_a_worker_has_its_cpus() -> None:
    cluster, process = FakeCluster(TWO), [False]

    def waits(time: StartTimer, seconds: int) -> bool:
        for _ in range(seconds):
            cluster.wait([], 1)
            time.check()
        return time.waits_for_cpus

    time = StartTimer(60, lambda: process[0], lambda: cluster.now)
    assert waits(time, 3600)
    process[0] = True
    assert not waits(time, 60)
    with pytest.raises(StartFailed, match="did not start within 60 s"):
        waits(time, 15)
    free = StartTimer(60, None, lambda: cluster.now)  # it needs no CPUs
    assert not waits(free, 60)
    with pytest.raises(StartFailed):
        waits(free, 1)


@pytest.mark.parametrize("same_build", [False, True])
def test_a_private_jobs_group_refuses_a_worker_of_another_build(*, same_build: bool) -> None:
    cluster = FakeCluster(TWO, builds={"b": {"numpy": "1"}})
    with closing(cluster.group(ONE_PER_NODE, same_build=same_build)) as group:
        group.wait_for_all()
        cluster.run_steps(group, 5)
        assert [slot.node for slot in slots_of(group)] == (["a"] if same_build else ["a", "b"])
    [told] = cluster.data_of("worker_lost" if same_build else "warning")
    assert "has {'numpy': '1'}, the engine has" in told["detail"]
