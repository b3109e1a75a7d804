"""Where a step's microbatches are computed; the coordinator knows the protocol only."""

import os
from collections.abc import Callable

from batchgrad.contract import WorkerRange
from batchgrad_service.engine.executors.auto import AutoExecutor
from batchgrad_service.engine.executors.cluster import FindCluster, RayWhenNeeded
from batchgrad_service.engine.executors.inline import InlineExecutor
from batchgrad_service.engine.executors.protocol import (
    ClusterLost,
    Executor,
    Happening,
    Interrupted,
)
from batchgrad_service.engine.messages import Start
from batchgrad_workers.shard import Setup, microbatches

__all__ = [
    "ClusterLost",
    "Executor",
    "FindCluster",
    "Happening",
    "Interrupted",
    "executor_for",
]


def executor_for(
    start: Start,
    setup: Setup,
    steps_planned: int,
    *,
    find_cluster: FindCluster | None,
    interrupted: Callable[[], bool],
) -> Executor:
    """The executor that a job asks for; Ray is not even imported for one that runs inline.

    `auto` tries Ray if `start` names a cluster or `find_cluster` can ask for one.

    Raises:
        Interrupted, NoWorkers, ClusterLost: while workers were being started.
    """
    spec = start.spec
    cores = len(os.sched_getaffinity(0))
    if spec.workers == 0 and spec.threads != "auto":
        return InlineExecutor(setup, spec.threads)
    if spec.workers == "auto" or spec.workers == 0:  # noqa: PLR1714  # mypy follows this form
        with_ray = spec.workers != 0 and (start.ray_address or find_cluster)
        return AutoExecutor(
            InlineExecutor(setup, 1 if spec.threads == "auto" else spec.threads),
            RayWhenNeeded(start, setup, find_cluster, cores) if with_ray else None,
            threads=spec.threads,
            cores=cores,
            microbatches=microbatches(setup.batch_size, setup.microbatch_size),
            steps_planned=steps_planned,
            interrupted=interrupted,
        )
    return _crew(start, setup, spec.workers, interrupted)


def _crew(
    start: Start,
    setup: Setup,
    workers: int | WorkerRange,
    interrupted: Callable[[], bool],
) -> Executor:
    """So many Ray workers on the cluster that `start` names."""
    from batchgrad_service.engine.executors import ray_connection  # noqa: PLC0415  # see above
    from batchgrad_service.engine.executors.ray_workers import RayExecutor  # noqa: PLC0415

    if start.ray_address is None:
        raise ClusterLost("the service named none.")
    ray_connection.connect(start.ray_address, f"batchgrad-{start.job_id}-{start.attempt}")
    nodes = ray_connection.cpus_by_node(private=start.ray_private)
    cpus = nodes.values()
    total, largest_node = max(1, sum(cpus)), max([1, *cpus])
    if isinstance(workers, WorkerRange):
        workers = min(max(total, workers.min), workers.max)
    shared = max(1, min(largest_node, total // workers))
    return RayExecutor(
        setup,
        workers=workers,
        threads=shared if start.spec.threads == "auto" else start.spec.threads,
        private=start.ray_private,
        silence_seconds=start.worker_silence_seconds,
        start_seconds=start.worker_start_seconds,
        interrupted=interrupted,
        nodes=[node for node in nodes if node],  # a private cluster's has no name
        leave=ray_connection.leave,
    )
