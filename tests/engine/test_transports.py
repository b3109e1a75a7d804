"""Connections that transfer arrays through shared memory or through Ray."""

import socket
from concurrent.futures import Future
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray.exceptions import ActorDiedError

from batchgrad_engine.executors.ray.transport import RayConnection, RayConnections
from batchgrad_engine.executors.scheduler.protocol import ConnectionLost, StepRequest
from batchgrad_engine.executors.transport.shared_memory import SharedMemoryConnections
from batchgrad_workers.runtime import ipc
from batchgrad_workers.runtime.config import WorkerConfig
from batchgrad_workers.runtime.shard import ShardRunner
from batchgrad_workers.runtime.shared_memory import Outbox, array_at, mapped
from tests.workers.jobs import M, bits, theta


def test_an_outbox_keeps_the_arrays_of_one_request_and_reuses_their_memory() -> None:
    outbox = Outbox()
    first, [descriptor] = outbox.put(1, [np.arange(3.0)])
    memory = mapped(descriptor)
    assert outbox.put(2, [np.arange(3.0) + 1])[1] == []
    assert array_at(memory, first[0]).tolist() == [1, 2, 3]
    [place], [more] = outbox.put(2, [np.arange(100.0)])
    assert array_at(memory, first[0]).tolist() == [1, 2, 3]
    assert array_at(mapped(more), place).tolist() == list(range(100))
    locations, none = outbox.put(3, [np.arange(3.0), np.arange(100.0)])  # both fit now
    assert not none
    assert [offset % 64 for _, offset, _ in locations] == [0, 0]
    for each in (descriptor, more):
        socket.close(each)


def test_a_connection_without_the_right_token_is_refused() -> None:
    with closing(SharedMemoryConnections("here")) as connections:
        connect_info = connections.connect_info()
        stranger = ipc.connect(connect_info._replace(token=b"guessed"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as mute:
            mute.connect("\0" + connect_info.address)
            assert connections.connection(connect_info) is None
        with ipc.connect(connect_info):
            connection = connections.connection(connect_info)
            assert connection is not None
            connection.close()
        assert connections.connection(connect_info) is None  # a token is valid once
    with stranger:
        stranger.settimeout(30)
        assert stranger.recv(1) == b""
    with pytest.raises(OSError, match="refused"):
        ipc.connect(connect_info)


def test_a_token_may_arrive_late() -> None:
    with closing(SharedMemoryConnections("here")) as connections:
        connect_info = connections.connect_info()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as slow:
            slow.connect("\0" + connect_info.address)
            assert (
                connections.connection(connections.connect_info()) is None
            )  # accepted without its token
            slow.send(connect_info.token)
            connection = connections.connection(connect_info)
            assert connection is not None
            connection.close()


def sockets() -> set[str]:
    """The sockets that this process has open; those of other tests may be closed at any time."""
    found = set()
    for each in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the folder's own
            found.add(str(each.readlink()))
    return {name for name in found if name.startswith("socket:")}


def test_closed_connections_free_their_descriptors() -> None:
    with closing(SharedMemoryConnections("here")) as connections:
        before = sockets()
        for _ in range(9):
            ipc.connect(connections.connect_info()).close()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as mute:
            mute.connect("\0" + connections.connect_info().address)
        connections.connect_info()
        assert not sockets() - before


class FakeActor:
    """Replies as Ray does: with futures."""

    def __init__(self, receive: Any) -> None:
        self.futures: list[Future[Any]] = []
        self.asked: list[Any] = []
        self.gradient_sums = self.evaluation_sums = self
        self.answer = receive

    def remote(self, *arguments: Any) -> Any:
        self.asked.append(arguments)
        self.futures.append(Future())
        return self

    def future(self) -> Future[Any]:
        return self.futures[-1]


def test_a_ray_connection_drops_stale_replies_and_raises_connection_lost(job: WorkerConfig) -> None:
    with closing(ShardRunner(job, 1)) as shard:
        sums = shard.gradient_sums(0, theta(job), 0, M)
    actor, connections = FakeActor(sums), RayConnections()
    with closing(RayConnection(actor, "there", connections)) as connection:
        for number in (1, 2, 3):
            connection.send(StepRequest(number, "gradient", 5, theta(job), M), (0, M))
        assert [a[2:] for a in actor.asked] == [(0, M, None)] * 3
        third = StepRequest(3, "gradient", 5, theta(job), M)
        actor.futures[0].set_result(sums)
        assert connection.receive(third) is None
        stale = connections.traffic["in", "ray"]
        assert stale > theta(job).nbytes  # it was transferred all the same
        for late in (1, 2):
            actor.futures[late].set_result(sums)
        assert connection.receive(third) is None
        found = connection.receive(third)
        assert found is not None
        assert [bits(node.sum) for node in found.nodes] == [bits(node.sum) for node in sums.nodes]
        assert connections.traffic["in", "ray"] == 3 * stale
        connection.send(third, (0, 1))
        actor.futures[3].set_exception(ActorDiedError())
        with pytest.raises(ConnectionLost, match="died unexpectedly"):
            connection.receive(third)
        connection.send(third, (0, 1))
    actor.futures[4].set_result(sums)  # the connection is closed


def test_arguments_by_value_count_as_traffic_with_every_call(job: WorkerConfig) -> None:
    connections, request = RayConnections(), StepRequest(1, "gradient", 0, theta(job), M)
    with (
        closing(RayConnection(FakeActor(None), "there", connections)) as one,
        closing(RayConnection(FakeActor(None), "there", connections)) as other,
    ):
        for connection in (one, other, other):
            connection.send(request, (0, 1))
    assert connections.traffic["out", "ray"] == 3 * theta(job).nbytes
