"""How arrays travel: through shared memory, or through Ray."""

import socket
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray.exceptions import ActorDiedError

from batchgrad_engine.executors.ray.transport import RayConnection, RayConnections
from batchgrad_engine.executors.scheduler.protocol import Lost, StepRequest
from batchgrad_engine.executors.transport.shared_memory import SharedMemoryConnections
from batchgrad_workers.runtime import ipc
from batchgrad_workers.runtime.shard import ShardRunner, WorkerConfig
from batchgrad_workers.runtime.shared_memory import Outbox, array_at, mapped
from tests.workers.jobs import M, theta


def test_an_outbox_keeps_what_the_call_has_put_in_and_reuses_its_memory() -> None:
    outbox = Outbox()
    first, [descriptor] = outbox.put(1, [np.arange(3.0)])
    memory = mapped(descriptor)
    assert outbox.put(2, [np.arange(3.0) + 1])[1] == []
    assert array_at(memory, first[0]).tolist() == [1, 2, 3]
    [place], [more] = outbox.put(2, [np.arange(100.0)])
    assert array_at(memory, first[0]).tolist() == [1, 2, 3]
    assert array_at(mapped(more), place).tolist() == list(range(100))
    places, none = outbox.put(3, [np.arange(3.0), np.arange(100.0)])  # both fit from now on
    assert not none
    assert [offset % 64 for _, offset, _ in places] == [0, 0]
    for each in (descriptor, more):
        socket.close(each)


def test_only_who_was_given_a_token_is_heard() -> None:
    with closing(SharedMemoryConnections("here")) as lines:
        offer = lines.offer()
        stranger = ipc.connect(offer._replace(token=b"guessed"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as mute:
            mute.connect("\0" + offer.address)
            assert lines.line(offer) is None
        with ipc.connect(offer):
            line = lines.line(offer)
            assert line is not None
            line.close()
        assert lines.line(offer) is None  # a token is good once
    with stranger:
        stranger.settimeout(5)
        assert stranger.recv(1) == b""
    with pytest.raises(OSError, match="refused"):
        ipc.connect(offer)


def test_who_is_slow_to_say_its_token_is_heard_all_the_same() -> None:
    with closing(SharedMemoryConnections("here")) as lines:
        offer = lines.offer()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as slow:
            slow.connect("\0" + offer.address)
            assert lines.line(lines.offer()) is None  # it is let in for another's sake
            slow.send(offer.token)
            line = lines.line(offer)
            assert line is not None
            line.close()


def test_who_came_and_went_is_forgotten() -> None:
    with closing(SharedMemoryConnections("here")) as lines:
        open_before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(9):
            ipc.connect(lines.offer()).close()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as mute:
            mute.connect("\0" + lines.offer().address)
        lines.offer()
        assert len(list(Path("/proc/self/fd").iterdir())) == open_before


class FakeActor:
    """Answers as Ray does: with futures, from elsewhere."""

    def __init__(self, answer: Any) -> None:
        self.futures: list[Future[Any]] = []
        self.asked: list[Any] = []
        self.gradient_sums = self.evaluation_sums = self
        self.answer = answer

    def remote(self, *arguments: Any) -> Any:
        self.asked.append(arguments)
        self.futures.append(Future())
        return self

    def future(self) -> Future[Any]:
        return self.futures[-1]


def test_a_line_through_ray_answers_drops_what_is_late_and_tells_a_loss(job: WorkerConfig) -> None:
    with closing(ShardRunner(job, 1)) as shard:
        sums = shard.gradient_sums(0, theta(job), 0, M)
    actor, lines = FakeActor(sums), RayConnections()
    with closing(RayConnection(actor, "there", lines)) as line:
        for number in (1, 2, 3):
            line.ask(StepRequest(number, "gradient", 5, theta(job)), (0, M))
        assert [a[2:] for a in actor.asked] == [(0, M)] * 3
        third = StepRequest(3, "gradient", 5, theta(job))
        actor.futures[0].set_result(sums)
        assert line.answer(third) is None
        late = lines.traffic["in", "ray"]
        assert late > theta(job).nbytes  # it has travelled all the same
        actor.futures[2].set_result(sums)
        assert line.answer(third) is sums
        assert lines.traffic["in", "ray"] == 2 * late
        line.ask(third, (0, 1))
        actor.futures[3].set_exception(ActorDiedError())
        with pytest.raises(Lost, match="died unexpectedly"):
            line.answer(third)
    actor.futures[1].set_result(sums)  # nobody listens any more


def test_what_travels_by_value_is_counted_with_every_call(job: WorkerConfig) -> None:
    lines, call = RayConnections(), StepRequest(1, "gradient", 0, theta(job))
    with (
        closing(RayConnection(FakeActor(None), "there", lines)) as one,
        closing(RayConnection(FakeActor(None), "there", lines)) as other,
    ):
        for line in (one, other, other):
            line.ask(call, (0, 1))
    assert lines.traffic["out", "ray"] == 3 * theta(job).nbytes
