"""What Ray's own errors mean for a job, and a head that is not there; no cluster."""

import socket
import threading
from collections.abc import Iterator
from time import monotonic

import pytest
import ray
from ray.exceptions import ActorDiedError, ObjectStoreFullError, OutOfDiskError, RayTaskError

from batchgrad_engine.executors.protocol import ClusterLost, ExecutorEvent, Interrupted
from batchgrad_engine.executors.ray.connection import cluster_errors, connect
from batchgrad_engine.failures import ObjectStoreFull


@pytest.mark.parametrize("error", [ObjectStoreFullError, OutOfDiskError])
def test_a_full_object_store_is_no_lost_cluster(error: type[Exception]) -> None:
    with (
        pytest.raises(ObjectStoreFull, match=r"\(no room\).*/dev/shm.*object_store_memory_bytes"),
        cluster_errors(),
    ):
        raise error("no room")
    assert ObjectStoreFull.reason == "out_of_memory"


def test_other_errors_of_ray_are_one_and_those_of_a_workers_code_stay() -> None:
    for error in (ActorDiedError(), ConnectionError("refused")):
        with pytest.raises(ClusterLost), cluster_errors():
            raise error
    with pytest.raises(RayTaskError), cluster_errors():
        raise RayTaskError("prepare", "Traceback", ValueError("hers"))


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


def test_a_head_that_does_not_come_is_lost(nobody: str) -> None:
    began = monotonic()
    events: list[ExecutorEvent] = []
    with pytest.raises(ClusterLost, match=f"no Ray head answers at {nobody} .*refused"):
        connect(nobody, "test", 0.6, lambda: False, events.append)
    assert 0.6 <= monotonic() - began < 5
    [warning] = events  # though it knocked more than once
    assert warning.data["detail"].startswith(f"No Ray head answers at {nobody} ")


def test_who_waits_for_a_head_goes_when_told(nobody: str) -> None:
    with pytest.raises(Interrupted):
        connect(nobody, "test", 60, lambda: True)


def test_a_head_that_ends_while_the_engine_connects_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """ray.init would go on for a minute."""
    released = threading.Event()
    with socket.socket() as head:
        head.bind(("127.0.0.1", 0))
        head.listen()

        def hang(**_: object) -> None:
            head.close()
            released.wait(60)

        monkeypatch.setattr(ray, "init", hang)
        address = f"127.0.0.1:{head.getsockname()[1]}"
        began = monotonic()
        try:
            with pytest.raises(ClusterLost, match=f"no Ray head answers at {address} any more"):
                connect(address, "test", 5, lambda: False)
        finally:
            released.set()
        assert monotonic() - began < 30


def test_what_ray_init_raises_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise ConnectionError("another token")

    monkeypatch.setattr(ray, "init", fail)
    with socket.socket() as head:
        head.bind(("127.0.0.1", 0))
        head.listen()
        address = f"127.0.0.1:{head.getsockname()[1]}"
        with pytest.raises(ClusterLost, match="another token"):
            connect(address, "test", 5, lambda: False)
