"""Ray's own errors, and heads that do not answer; no cluster."""

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
def test_a_full_object_store_is_not_a_lost_cluster(error: type[Exception]) -> None:
    with (
        pytest.raises(ObjectStoreFull, match=r"\(no room\).*/dev/shm.*object_store_memory_bytes"),
        cluster_errors(),
    ):
        raise error("no room")
    assert ObjectStoreFull.reason == "out_of_memory"


def test_other_errors_of_ray_are_a_lost_cluster_but_not_those_of_a_workers_code() -> None:
    for error in (ActorDiedError(), ConnectionError("refused")):
        with pytest.raises(ClusterLost), cluster_errors():
            raise error
    with pytest.raises(RayTaskError), cluster_errors():
        raise RayTaskError("prepare", "Traceback", ValueError("hers"))


@pytest.fixture
def unused_address() -> Iterator[str]:
    """An address where no process listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


def test_a_head_that_does_not_answer_is_lost(unused_address: str) -> None:
    began = monotonic()
    events: list[ExecutorEvent] = []
    with pytest.raises(ClusterLost, match=f"no Ray head answers at {unused_address} .*refused"):
        connect(unused_address, "test", 0.6, lambda: False, events.append)
    assert 0.6 <= monotonic() - began < 30
    [warning] = events  # although it tried more than once
    assert warning.data["detail"].startswith(f"No Ray head answers at {unused_address} ")


def test_an_interrupt_ends_the_wait_for_a_head(unused_address: str) -> None:
    with pytest.raises(Interrupted):
        connect(unused_address, "test", 60, lambda: True)


def test_a_head_that_ends_while_the_engine_connects_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """ray.init would continue for a minute."""
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
