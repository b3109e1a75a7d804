"""Where a step's microbatches are computed; the coordinator knows the protocol only."""

from collections.abc import Callable

from batchgrad_service.engine.executors.inline import InlineExecutor
from batchgrad_service.engine.executors.protocol import (
    ClusterLost,
    Executor,
    Happening,
    Interrupted,
)
from batchgrad_service.engine.messages import Start
from batchgrad_workers.shard import Setup

__all__ = ["ClusterLost", "Executor", "Happening", "Interrupted", "executor_for"]


def executor_for(start: Start, setup: Setup, interrupted: Callable[[], bool]) -> Executor:
    """The executor that a job asks for; Ray is not even imported for one that runs inline.

    Raises:
        Interrupted, NoWorkers, ClusterLost: while workers were being started.
    """
    spec = start.spec
    if start.ray_address is None:
        return InlineExecutor(setup, spec.threads)
    from batchgrad_service.engine.executors.ray_workers import (  # noqa: PLC0415  # see above
        RayExecutor,
    )

    return RayExecutor(
        setup,
        address=start.ray_address,
        namespace=f"batchgrad-{start.job_id}-{start.attempt}",
        workers=spec.workers,
        threads=spec.threads,
        private=start.ray_private,
        silence_seconds=start.worker_silence_seconds,
        start_seconds=start.worker_start_seconds,
        interrupted=interrupted,
    )
