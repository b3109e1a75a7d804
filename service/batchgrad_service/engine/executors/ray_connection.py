"""The engine's connection to a Ray cluster."""

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray.exceptions import RayError, RayTaskError

from batchgrad_service.engine.executors.protocol import ClusterLost


@contextmanager
def cluster_errors() -> Iterator[None]:
    """Ray's own errors mean that the cluster is lost; those of a worker's code stay as they are."""
    try:
        yield
    except RayTaskError:
        raise
    except (RayError, ConnectionError) as error:
        raise ClusterLost(str(error)) from error


def connect(address: str, namespace: str) -> None:
    """Become a driver of the cluster; once a process.

    Raises:
        ClusterLost: there is no cluster.
    """
    with cluster_errors():
        ray.init(
            address=address,
            namespace=namespace,
            log_to_driver=False,
            logging_level=logging.WARNING,
            configure_logging=False,
        )
    gc.freeze()  # what Ray imported stays; a third more for each full collection to look at


def leave() -> None:
    """End the connection, and with it all actors of this engine."""
    ray.shutdown()
