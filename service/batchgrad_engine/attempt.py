"""Run one attempt at a job, and report each possible end of it as a `Finished` message."""

import logging
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from batchgrad_engine.checkpoints.checkpoints import Snapshot
from batchgrad_engine.checkpoints.job_directory import newest, remove_unfinished
from batchgrad_engine.commands import CommandSource, outcome_of
from batchgrad_engine.executors.auto.cluster import FindCluster
from batchgrad_engine.executors.factory import executor_for
from batchgrad_engine.executors.protocol import ClusterLost, ExecutorEvent, Interrupted
from batchgrad_engine.failures import BadInputs, Failure, disk_full, failed, failed_in_private
from batchgrad_engine.messages import EngineEvent, Finished, Sent, Start
from batchgrad_engine.preparation.job import engine_threads, prepare
from batchgrad_engine.run import TrainingRun
from batchgrad_workers.module_config import BadModule
from batchgrad_workers.runtime.threads import ThreadPool, keep_freed_memory, single_threaded_blas
from batchgrad_workers.system.disk import is_disk_full

_log = logging.getLogger(__name__)


def run_attempt(
    start: Start,
    commands: CommandSource,
    send: Callable[[Sent], None],
    save_unstored: Callable[[], None],
    find_cluster: FindCluster | None = None,
) -> None:
    """Train from the newest checkpoint until an end, and send a `Finished` that describes it.

    `save_unstored` is called before each checkpoint. It writes messages that the service may not
    have stored to a file, since no later attempt computes them again. `find_cluster` lets
    `workers: auto` try the service's private cluster.

    Raises:
        ClusterLost: Ray is gone; a checkpoint was written, another attempt can resume it.
    """
    single_threaded_blas()
    keep_freed_memory()
    step, told = 0, failed if start.privacy is None else failed_in_private
    try:
        snapshot = _newest_snapshot(start.job_directory, send)
        step = snapshot.step if snapshot else 0
        send(_train(start, snapshot, commands, send, save_unstored, find_cluster))
    except Interrupted:
        send(Finished(outcome=outcome_of(commands), step=step))
    except Failure as failure:
        send(told(failure.reason, failure, step))
    except BadModule as error:
        send(told(BadInputs.reason, error, step))
    except MemoryError as error:
        _log.exception("out of memory")
        send(told("out_of_memory", error, step))
    except ClusterLost as error:
        send(Finished(outcome="interrupted", reason="cluster_lost", detail=str(error), step=step))
        raise
    except Exception as error:  # noqa: BLE001  # the job must learn of any error
        if is_disk_full(error):
            send(disk_full(error, step))
            return
        _log.exception("the engine failed")
        send(told("engine_error", error, step))


def _newest_snapshot(job_directory: Path, send: Callable[[Sent], None]) -> Snapshot | None:
    """The newest readable checkpoint, with a warning for each unreadable one that is newer."""
    remove_unfinished(job_directory)
    snapshot, errors = newest(job_directory)
    for error in errors:
        send(EngineEvent(event="warning", data={"detail": error}))
    return snapshot


def _train(
    start: Start,
    snapshot: Snapshot | None,
    commands: CommandSource,
    send: Callable[[Sent], None],
    save_unstored: Callable[[], None],
    find_cluster: FindCluster | None,
) -> Finished:
    prepared = prepare(
        start.spec,
        start.dataset,
        snapshot,
        start.initial_parameters,
        start.validation_dataset,
        start.code,
        start.privacy,
    )
    if prepared.warning:
        send(EngineEvent(event="warning", data={"detail": prepared.warning}))
    has_workers = False
    executor = executor_for(
        start,
        prepared.config,
        prepared.steps_planned,
        prepared.sampler.microbatches(prepared.config.microbatch_size),
        find_cluster=find_cluster,
        # Before there are workers there is no step to finish: a command interrupts the wait.
        interrupted=lambda: commands.interrupted or bool(commands.command and not has_workers),
        emit=lambda each: send(_event(each, private=start.privacy is not None)),
    )
    has_workers = True
    with closing(executor), ThreadPool(engine_threads(start.spec)) as pool:
        run = TrainingRun(start, prepared, executor, pool, snapshot, commands, send, save_unstored)
        return run.train()


def _event(event: ExecutorEvent, *, private: bool) -> EngineEvent:
    """The event; of a private job without times of steps, which tell how many rows were drawn."""
    data = event.data
    if private and event.event == "executor":
        data = {**data, "because": "times of private steps are not shown", "milliseconds": {}}
    return EngineEvent(event=event.event, data=data)
