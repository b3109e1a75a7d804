"""Connect this process to a Ray cluster as a driver; notice when the head is gone."""

import logging
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from threading import Lock, Thread
from time import monotonic, sleep

import ray
from ray.exceptions import ObjectStoreFullError, OutOfDiskError, RayError, RayTaskError

from batchgrad_engine.executors.protocol import (
    ClusterLost,
    EventSink,
    ExecutorEvent,
    Interrupted,
)
from batchgrad_engine.failures import ObjectStoreFull
from batchgrad_workers.system import gc_tuning

CONNECT_SECONDS = 3.0
"""How long a head may take to accept a connection."""

RETRY_SECONDS = 0.5

_one_at_a_time = Lock()


@contextmanager
def cluster_errors() -> Iterator[None]:
    """Raise Ray's own errors as errors of the cluster; pass on those of a worker's code.

    Raises:
        ClusterLost, ObjectStoreFull: in place of Ray's own.
    """
    try:
        yield
    except RayTaskError:
        raise
    except (ObjectStoreFullError, OutOfDiskError) as error:
        raise ObjectStoreFull(str(error).strip().splitlines()[0]) from error
    except (RayError, ConnectionError) as error:
        raise ClusterLost(str(error)) from error


def connect(
    address: str,
    namespace: str,
    timeout_seconds: float,
    interrupted: Callable[[], bool],
    emit: EventSink | None = None,
) -> None:
    """Become a driver of the cluster at `address`; once per process.

    Waits up to `timeout_seconds` for a head that does not answer; `emit` gets a warning at once.

    Raises:
        ClusterLost: no head answered in time.
        Interrupted: the engine has to stop.
    """
    _wait_for_head(address, timeout_seconds, interrupted, emit)
    with cluster_errors():
        _initialise(address, namespace)
    gc_tuning.freeze_existing_objects()  # Ray adds a third to the objects that it scans


def _initialise(address: str, namespace: str) -> None:
    """Run ray.init in a thread, since it notices the end of a head only after a minute or more.

    Raises:
        ClusterLost: no head answers at `address` any more; ray.init may continue until it fails.
    """
    outcome: Future[None] = Future()

    def initialise() -> None:
        try:
            with _one_at_a_time:
                if not ray.is_initialized():  # by an earlier connection to the same head
                    ray.init(
                        address=address,
                        namespace=namespace,
                        log_to_driver=False,
                        logging_level=logging.WARNING,
                        configure_logging=False,
                    )
        except BaseException as error:  # noqa: BLE001 - raised again by the waiting thread
            outcome.set_exception(error)
        else:
            outcome.set_result(None)

    Thread(target=initialise, name="ray-init", daemon=True).start()
    while not wait([outcome], RETRY_SECONDS).done:
        if error := _connect_error(address):
            raise ClusterLost(f"no Ray head answers at {address} any more ({error}).") from error
    outcome.result()


def check_head() -> None:
    """Raises ClusterLost if the head is gone. Without this check, calls of Ray would block."""
    address = ray.get_runtime_context().gcs_address
    if error := _connect_error(address):
        raise ClusterLost(f"no Ray head answers at {address} any more ({error}).") from error


def disconnect() -> None:
    """End the connection and all actors of this engine; skipped if the head is gone."""
    if ray.is_initialized():
        with suppress(ClusterLost):
            check_head()
            ray.shutdown()


def _wait_for_head(
    address: str, seconds: float, interrupted: Callable[[], bool], emit: EventSink | None
) -> None:
    """Wait until a head listens at HOST:PORT; ray.init would try for 41 s, without interrupts."""
    deadline = monotonic() + seconds
    while error := _connect_error(address):
        if emit:
            text = f"No Ray head answers at {address} ({error}): the job waits for it."
            emit(ExecutorEvent("warning", {"detail": text}))
            emit = None
        if interrupted():
            raise Interrupted
        if monotonic() > deadline:
            raise ClusterLost(f"no Ray head answers at {address} ({error}).") from error
        sleep(RETRY_SECONDS)


def _connect_error(address: str) -> OSError | None:
    """Why a connection fails; None if it works, or if `address` has a form that only Ray knows."""
    host, _, port = address.rpartition(":")
    if port.isdigit():
        try:
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
        except OSError as error:
            return error
    return None
