"""Who is started where and when, who is waited for, and what is told of it; no Ray."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise

import pytest

from batchgrad_engine.executors.protocol import ClusterLost, Interrupted
from batchgrad_engine.executors.ray.pending_workers import NotStarted, StartTime, TooLate
from batchgrad_engine.executors.ray.placement import Nodes, WorkerSlot, one_a_node
from batchgrad_engine.executors.ray.worker_group import WorkerGroup
from batchgrad_engine.failures import NoWorkers
from tests.engine.crews import World

ONE_A_NODE = partial(one_a_node, least=1, most=9, threads="auto")
TWO = Nodes({"a": 2, "b": 2})


@contextmanager
def going(crew: WorkerGroup) -> Iterator[WorkerGroup]:
    try:
        yield crew
    finally:
        crew.dismiss()


def seats_of(crew: WorkerGroup) -> list[WorkerSlot]:
    return sorted(worker.seat for worker in crew.alive)


def test_a_worker_in_every_seat_and_another_for_one_that_is_lost() -> None:
    world = World(TWO)
    with going(world.crew(ONE_A_NODE)) as crew:
        crew.everybody()
        assert seats_of(crew) == [WorkerSlot("a", 2, 2), WorkerSlot("b", 2, 2)]
        crew.lose(crew.alive[0], "died", "it was told to")
        world.passes(crew, 2)
        assert seats_of(crew) == [WorkerSlot("a", 2, 2), WorkerSlot("b", 2, 2)]
    assert [each["reason"] for each in world.told("worker_lost")] == ["died"]
    assert len(world.told("worker_joined")) == 3
    assert not world.there()


def test_who_has_no_room_waits_until_there_is_some_and_says_so_once() -> None:
    world = World(TWO, taken=1)
    world.later.append((world.now + 3600, partial(setattr, world, "taken", 0)))
    with going(world.crew(ONE_A_NODE)) as crew:
        crew.everybody()
        assert seats_of(crew) == [WorkerSlot("a", 2, 2), WorkerSlot("b", 2, 2)]
    assert world.now < 1000 + 3610
    assert len(world.started) == 2  # they were not started anew meanwhile
    [warning] = world.told("warning")
    assert "no CPUs free" in warning["detail"]


def test_who_waits_for_room_is_not_waited_for_when_another_one_is_there() -> None:
    world = World(Nodes({"a": 4}))
    with going(world.crew(lambda _: [WorkerSlot("a", 3, 3)] * 2, least=2)) as crew:
        crew.everybody()
        assert len(crew.alive) == 1
    assert world.now < 1000 + 62
    [warning] = world.told("warning")
    assert warning["detail"].startswith("Some of the 2 Ray workers have no CPUs")


def test_a_cluster_without_nodes_is_waited_for() -> None:
    world = World(Nodes())
    world.later.append((world.now + 600, partial(setattr, world, "nodes", TWO)))
    with going(world.crew(ONE_A_NODE)) as crew:
        crew.everybody()
        assert len(crew.alive) == 2


def test_a_node_that_goes_while_its_room_is_waited_for_ends_nothing() -> None:
    world = World(Nodes({"a": 2}), taken=1)

    def gone() -> None:
        world.broken["a"] = NotStarted("its node died")  # and it takes a while until that is seen
        world.later.append((world.now + 10, there_is_another))

    def there_is_another() -> None:
        world.nodes, world.taken = Nodes({"b": 3}), 0

    world.later.append((world.now + 600, gone))
    with going(world.crew(ONE_A_NODE)) as crew:
        crew.everybody()
        assert seats_of(crew) == [WorkerSlot("b", 3, 3)]


def test_an_engine_that_has_to_go_waits_for_no_room() -> None:
    world = World(TWO, taken=1)
    crew = world.crew(ONE_A_NODE, interrupted=lambda: world.now > 1100)
    with going(crew), pytest.raises(Interrupted):
        crew.everybody()


def test_what_the_whole_cluster_could_never_hold_fails() -> None:
    world = World(TWO)
    seats = [WorkerSlot("", 8, 8)] * 3
    with (
        going(world.crew(lambda _: seats)) as crew,
        pytest.raises(
            NoWorkers, match=r"None of 3 .* 60 s: one needs 8 CPUs .* largest node has 2"
        ),
    ):
        crew.everybody()
    assert not world.told("warning")


def test_a_dataset_that_cant_be_had_is_the_reason_and_no_cause_for_other_advice() -> None:
    world = World(TWO, broken=dict.fromkeys("ab", NotStarted("OSError: no dataset.")))
    with going(world.crew(ONE_A_NODE)) as crew, pytest.raises(NoWorkers) as failure:
        crew.everybody()
    assert str(failure.value) == "None of 2 Ray workers started within 60 s: OSError: no dataset."


def test_when_all_are_lost_and_none_comes_the_cluster_counts_as_lost() -> None:
    world = World(TWO)
    with going(world.crew(ONE_A_NODE)) as crew:
        crew.everybody()
        world.taken = 1  # or Ray has started afresh: an old driver can't tell
        for worker in list(crew.alive):
            crew.lose(worker, "died", "")
        with pytest.raises(ClusterLost, match="after all were lost"):
            crew.somebody()


def test_a_cluster_that_goes_while_workers_start_is_lost_at_once() -> None:
    world = World(TWO, seconds=30.0)
    world.later.append((world.now + 10, partial(setattr, world, "gone", True)))
    with going(world.crew(ONE_A_NODE)) as crew, pytest.raises(ClusterLost, match="no Ray head"):
        crew.everybody()
    assert world.now < 1000 + 12


def test_a_cluster_that_says_nothing_for_a_minute_counts_as_lost() -> None:
    """As one does that has started afresh, of which an old driver hears nothing."""
    world = World(TWO, broken={"a": TooLate("it did not start within 60 s")}, seconds=1e6)
    with going(world.crew(ONE_A_NODE)) as crew, pytest.raises(ClusterLost, match="does not say"):
        crew.everybody()
    assert world.now < 1000 + 62
    world.broken["b"] = NotStarted("MemoryError")  # this is no silence
    with going(world.crew(ONE_A_NODE)) as crew, pytest.raises(NoWorkers, match="60 s: MemoryErr"):
        crew.everybody()


def test_a_seat_that_can_not_be_filled_is_tried_more_and_more_seldom() -> None:
    world = World(TWO, broken={"b": NotStarted("OSError: no dataset.")})
    with going(world.crew(ONE_A_NODE)) as crew:
        crew.everybody()
        world.passes(crew, 3600)
        tries = [at for at, worker in world.started if worker.seat.node == "b"]
        pauses = [round(later - at) for at, later in pairwise(tries)]
        assert pauses[:8] == [2, 4, 8, 16, 32, 64, 128, 256]
        assert set(pauses[8:]) == {300}
        [lost] = world.told("worker_lost")
        assert (lost["reason"], lost["detail"]) == ("start_failed", "OSError: no dataset.")
        # The other node's worker is replaced at once all the same.
        crew.lose(crew.alive[0], "died", "")
        world.passes(crew, 1)
        assert seats_of(crew) == [WorkerSlot("a", 2, 2)]
        # What goes wrong in another way is told, what is mended is forgotten.
        world.broken["b"] = NotStarted("MemoryError")
        world.passes(crew, 301)
        del world.broken["b"]
        world.passes(crew, 301)
        assert len(crew.alive) == 2
        world.broken["b"] = NotStarted("MemoryError")
        crew.lose(crew.alive[1], "died", "")
        world.passes(crew, 1)
    reasons = [each["detail"] for each in world.told("worker_lost")]
    assert reasons == ["OSError: no dataset.", "", "MemoryError", "", "MemoryError"]


def test_those_who_may_sit_anywhere_do_not_wait_for_one_that_failed() -> None:
    world = World(Nodes({"": 9}))
    with going(world.crew(lambda _: [WorkerSlot("", 1, 1)] * 3, least=3)) as crew:
        crew.everybody()
        world.broken[""] = NotStarted("no dataset")
        crew.lose(crew.alive[0], "died", "")
        crew.follow()
        world.broken.clear()
        crew.lose(crew.alive[0], "died", "")
        world.passes(crew, 1)
        assert len(crew.alive) == 2
        world.passes(crew, 2)
        assert len(crew.alive) == 3


def test_a_node_that_joins_never_leaves_the_crew_without_a_worker() -> None:
    world = World(Nodes({"a": 4}), seconds=1.0)
    four = partial(one_a_node, least=4, most=8, threads="auto")
    with going(world.crew(four, least=4)) as crew:
        crew.everybody()
        assert seats_of(crew) == [WorkerSlot("a", 1, 1)] * 4
        world.nodes = Nodes({"a": 4, "b": 4})
        for _ in range(50):
            world.passes(crew, 0.1)
            assert crew.alive
        assert seats_of(crew) == [*[WorkerSlot("a", 2, 2)] * 2, *[WorkerSlot("b", 2, 2)] * 2]
    lost = world.told("worker_lost")
    assert [each["reason"] for each in lost] == ["dismissed"] * 4


def test_who_sits_where_nobody_else_has_room_makes_room_in_the_end() -> None:
    world = World(Nodes({"a": 2, "b": 2}), seconds=1.0)
    two = partial(one_a_node, least=2, most=8, threads="auto")
    with going(world.crew(two, least=2)) as crew:
        crew.everybody()
        world.nodes = Nodes({"a": 2})
        world.passes(crew, 5)
        assert seats_of(crew) == [WorkerSlot("a", 2, 2)]
        world.passes(crew, 10)
        assert seats_of(crew) == [WorkerSlot("a", 1, 1)] * 2


def test_who_has_its_cpus_and_hangs_is_given_up_and_who_waits_for_them_is_not() -> None:
    world, process = World(TWO), [False]

    def waits(time: StartTime, seconds: int) -> bool:
        for _ in range(seconds):
            world.wait([], 1)
            time.check()
        return time.waits_for_room

    time = StartTime(60, lambda: process[0], lambda: world.now)
    assert waits(time, 3600)
    process[0] = True
    assert not waits(time, 60)
    with pytest.raises(NotStarted, match="did not start within 60 s"):
        waits(time, 15)
    free = StartTime(60, None, lambda: world.now)  # it needs no CPUs
    assert not waits(free, 60)
    with pytest.raises(NotStarted):
        waits(free, 1)
