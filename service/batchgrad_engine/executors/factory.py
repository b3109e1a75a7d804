"""Where a step's microbatches are computed; the coordinator knows the protocol only."""

import os
from collections.abc import Callable

from batchgrad_engine.executors.auto.cluster import FindCluster, LazyRayCluster
from batchgrad_engine.executors.auto.executor import AutoExecutor
from batchgrad_engine.executors.inline import InlineExecutor
from batchgrad_engine.executors.protocol import (
    ClusterLost,
    EventSink,
    Executor,
    ExecutorEvent,
    Interrupted,
)
from batchgrad_engine.messages import Start
from batchgrad_workers.runtime.shard import WorkerConfig, microbatches

__all__ = [
    "ClusterLost",
    "EventSink",
    "Executor",
    "ExecutorEvent",
    "FindCluster",
    "Interrupted",
    "executor_for",
]


def executor_for(
    start: Start,
    setup: WorkerConfig,
    steps_planned: int,
    *,
    find_cluster: FindCluster | None,
    interrupted: Callable[[], bool],
    tell: EventSink,
) -> Executor:
    """The executor that a job asks for; Ray is not even imported for one that runs inline.

    `auto` tries Ray if `start` names a cluster or `find_cluster` can ask for one. What happens to
    workers is told at once, also while they are waited for, and from whatever thread waits.

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
            LazyRayCluster(start, setup, find_cluster, cores, tell) if with_ray else None,
            threads=spec.threads,
            cores=cores,
            microbatches=microbatches(setup.batch_size, setup.microbatch_size),
            steps_planned=steps_planned,
            interrupted=interrupted,
            tell=tell,
        )
    from batchgrad_engine.executors.ray.executor import crew  # noqa: PLC0415  # see above

    return crew(start, setup, spec.workers, interrupted, tell)
