"""Create the executor that a job's spec asks for."""

import os
from collections.abc import Callable

from batchgrad_engine.executors.auto.cluster import FindCluster, LazyRayCluster
from batchgrad_engine.executors.auto.executor import AutoExecutor
from batchgrad_engine.executors.inline import InlineExecutor
from batchgrad_engine.executors.protocol import EventSink, Executor
from batchgrad_engine.messages import Start
from batchgrad_workers.runtime.config import WorkerConfig


def executor_for(
    start: Start,
    worker_config: WorkerConfig,
    steps_planned: int,
    microbatches: int,
    *,
    find_cluster: FindCluster | None,
    interrupted: Callable[[], bool],
    emit: EventSink,
) -> Executor:
    """The executor for the spec's `workers` and `threads`. An inline job never imports Ray.

    `microbatches` is M of a full minibatch.

    `auto` tries Ray if `start` names a cluster or `find_cluster` can request one. `emit` is called
    at once for every event, from any thread, also while workers start.

    Raises:
        Interrupted, NoWorkers, ClusterLost: workers could not be started.
    """
    spec = start.spec
    cores = len(os.sched_getaffinity(0))
    if spec.workers == 0 and spec.num_gpus:
        return InlineExecutor(worker_config, 1)  # a GPU computes one microbatch at a time
    if spec.workers == 0 and spec.threads != "auto":
        return InlineExecutor(worker_config, spec.threads)
    if spec.workers == "auto" or spec.workers == 0:  # noqa: PLR1714  # mypy follows this form
        with_ray = spec.workers != 0 and (start.ray_address or find_cluster)
        return AutoExecutor(
            InlineExecutor(worker_config, 1 if spec.threads == "auto" else spec.threads),
            LazyRayCluster(start, worker_config, find_cluster, cores, emit) if with_ray else None,
            threads=spec.threads,
            cores=cores,
            microbatches=microbatches,
            steps_planned=steps_planned,
            interrupted=interrupted,
            emit=emit,
        )
    from batchgrad_engine.executors.ray.executor import (  # noqa: PLC0415  # see above
        start_ray_executor,
    )

    return start_ray_executor(start, worker_config, spec.workers, interrupted, emit)
