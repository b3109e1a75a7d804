"""The engine's connection to a Ray cluster."""

import logging
import os
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


def cpus_by_node(*, private: bool) -> dict[str, int]:
    """CPUs of every node that is alive. A private cluster is this machine's cores.

    Raises:
        ClusterLost: it is gone.
    """
    if private:  # it was given more CPUs than there are cores, if more workers were asked for
        return {"": len(os.sched_getaffinity(0))}
    with cluster_errors():
        nodes = {n["NodeID"]: int(n["Resources"].get("CPU", 0)) for n in ray.nodes() if n["Alive"]}
    return {node: cpus for node, cpus in nodes.items() if cpus}


def leave() -> None:
    """End the connection, and with it all actors of this engine."""
    ray.shutdown()
