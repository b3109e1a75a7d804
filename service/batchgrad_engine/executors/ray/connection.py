"""The engine's connection to a Ray cluster."""

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

KNOCK_SECONDS = 3.0
"""How long a head may take to accept a connection."""

AGAIN_SECONDS = 0.5

_one_at_a_time = Lock()


@contextmanager
def cluster_errors() -> Iterator[None]:
    """Ray's own errors mean that the cluster is lost; those of a worker's code stay as they are.

    Raises:
        ClusterLost, ObjectStoreFull: instead of Ray's own.
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
    patience_seconds: float,
    interrupted: Callable[[], bool],
    tell: EventSink | None = None,
) -> None:
    """Become a driver of the cluster; once a process. A head that is away is waited for.

    `tell` hears of it at once.

    Raises:
        ClusterLost: there is no cluster, nor came one.
        Interrupted: nobody wants to wait any more.
    """
    _await(address, patience_seconds, interrupted, tell)
    with cluster_errors():
        _initialise(address, namespace)
    gc_tuning.freeze_existing_objects()  # Ray's modules are a third more to look at


def _initialise(address: str, namespace: str) -> None:
    """Run ray.init in a thread: it would notice the end of a head after a minute, or later.

    Raises:
        ClusterLost: nobody listens at `address` any more; ray.init may go on until it fails.
    """
    outcome: Future[None] = Future()

    def initialise() -> None:
        try:
            with _one_at_a_time:
                if not ray.is_initialized():  # by an earlier one, which the head outlived
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
    while not wait([outcome], AGAIN_SECONDS).done:
        if error := _refused(address):
            raise ClusterLost(f"no Ray head answers at {address} any more ({error}).") from error
    outcome.result()


def check_head() -> None:
    """Raises ClusterLost when nobody listens there any more: Ray's own calls wait, deaf to all."""
    address = ray.get_runtime_context().gcs_address
    if error := _refused(address):
        raise ClusterLost(f"no Ray head answers at {address} any more ({error}).") from error


def leave() -> None:
    """End the connection, and with it all actors of this engine; to no head there is none."""
    if ray.is_initialized():
        with suppress(ClusterLost):
            check_head()
            ray.shutdown()


def _await(
    address: str, seconds: float, interrupted: Callable[[], bool], tell: EventSink | None
) -> None:
    """Until somebody listens at HOST:PORT; ray.init would try for 41 s, and hear nobody."""
    deadline = monotonic() + seconds
    while error := _refused(address):
        if tell:
            text = f"No Ray head answers at {address} ({error}): the job waits for it."
            tell(ExecutorEvent("warning", {"detail": text}))
            tell = None
        if interrupted():
            raise Interrupted
        if monotonic() > deadline:
            raise ClusterLost(f"no Ray head answers at {address} ({error}).") from error
        sleep(AGAIN_SECONDS)


def _refused(address: str) -> OSError | None:
    """Why nobody can connect there; other forms of address are Ray's to understand."""
    host, _, port = address.rpartition(":")
    if port.isdigit():
        try:
            socket.create_connection((host.strip("[]"), int(port)), KNOCK_SECONDS).close()
        except OSError as error:
            return error
    return None
