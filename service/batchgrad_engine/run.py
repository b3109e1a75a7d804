"""One attempt at a job: from the newest checkpoint, step by step, until it ends or has to go."""

import logging
import os
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from math import isfinite
from time import monotonic, perf_counter
from typing import Literal

import numpy as np

from batchgrad.contract import JobSpec
from batchgrad_engine.checkpoints import checkpoints, ledger_files
from batchgrad_engine.checkpoints.checkpoints import Snapshot
from batchgrad_engine.checkpoints.example_ledger import Ledger
from batchgrad_engine.commands import CommandSource
from batchgrad_engine.executors.factory import (
    ClusterLost,
    Executor,
    FindCluster,
    Interrupted,
    executor_for,
)
from batchgrad_engine.failures import (
    Failure,
    NonFinite,
    NonFiniteEvaluation,
    NonFiniteParameters,
)
from batchgrad_engine.messages import (
    Checkpointed,
    EngineEvent,
    Evaluated,
    Finished,
    LedgerWritten,
    Sent,
    Start,
    Started,
)
from batchgrad_engine.preparation import Prepared, prepare
from batchgrad_engine.reporter import Reporter
from batchgrad_engine.training.coordinator import Coordinator
from batchgrad_engine.training.early_stopping import EarlyStopping
from batchgrad_workers.runtime.threads import ThreadPool, keep_freed_memory, single_threaded_blas
from batchgrad_workers.system import gc_tuning
from batchgrad_workers.system.disk import lacks_room, no_room

Send = Callable[[Sent], None]
Outcome = Literal["succeeded", "failed", "paused", "cancelled", "interrupted"]


_log = logging.getLogger(__name__)


def run(
    start: Start,
    commands: CommandSource,
    send: Send,
    save_unstored: Callable[[], None],
    find_cluster: FindCluster | None = None,
) -> None:
    """Train as `start` says; every end is told by a `Finished`.

    `save_unstored` is called before each checkpoint. It writes messages that the service may not
    have stored to a file, since no later attempt computes them again. `find_cluster` lets
    `workers: auto` try the service's private cluster.

    Raises:
        ClusterLost: Ray is gone; a checkpoint was written, another attempt can go on.
    """
    single_threaded_blas()
    keep_freed_memory()
    step, trains = 0, False
    try:
        checkpoints.sweep(start.job_directory)
        snapshot, complaints = checkpoints.newest(start.job_directory)
        for complaint in complaints:
            send(EngineEvent(event="warning", data={"detail": complaint}))
        step = snapshot.step if snapshot else 0
        prepared = prepare(start.spec, start.dataset, snapshot, start.initial_parameters)
        if prepared.warning:
            send(EngineEvent(event="warning", data={"detail": prepared.warning}))
        executor = executor_for(
            start,
            prepared.config,
            prepared.steps_planned,
            find_cluster=find_cluster,
            # Who waits for workers has no step to end before it obeys.
            interrupted=lambda: commands.interrupted or bool(commands.command and not trains),
            tell=lambda each: send(EngineEvent(event=each.event, data=each.data)),
        )
        trains = True
        with closing(executor), ThreadPool(own_threads(start.spec)) as pool:
            training = TrainingRun(
                start, prepared, executor, pool, snapshot, commands, send, save_unstored
            )
            send(training.train())
    except Interrupted:
        send(Finished(outcome=_outcome(commands), step=step))
    except Failure as failure:
        send(_failed(failure.reason, failure, step))
    except MemoryError as error:
        _log.exception("out of memory")
        send(_failed("out_of_memory", error, step))
    except ClusterLost as error:
        send(Finished(outcome="interrupted", reason="cluster_lost", detail=str(error), step=step))
        raise
    except Exception as error:  # noqa: BLE001  # whatever it is, the job must learn of it
        if lacks_room(error):
            send(out_of_room(error, step))
            return
        _log.exception("the engine failed")
        send(_failed("engine_error", error, step))


def out_of_room(error: BaseException, step: int = 0) -> Finished:
    """The last word of an engine that could not write; another attempt goes on."""
    detail = no_room(error)
    return Finished(outcome="interrupted", reason="disk_full", detail=detail, step=step)


def own_threads(spec: JobSpec) -> int:
    """Threads for what the engine does between the workers' sums."""
    return len(os.sched_getaffinity(0)) if spec.threads == "auto" else spec.threads


def _outcome(commands: CommandSource) -> Outcome:
    """What it is called when the engine does what it was told."""
    if commands.interrupted or commands.command is None:
        return "interrupted"
    return "paused" if commands.command == "pause" else "cancelled"


def _failed(reason: str, error: BaseException, step: int) -> Finished:
    detail = str(error) or type(error).__name__
    return Finished(outcome="failed", reason=reason, detail=detail, step=step)


class TrainingRun:
    """The training loop with what surrounds a step: evaluation, checkpoints, orders."""

    def __init__(
        self,
        start: Start,
        prepared: Prepared,
        executor: Executor,
        pool: ThreadPool,
        snapshot: Snapshot | None,
        commands: CommandSource,
        send: Send,
        save_unstored: Callable[[], None],
    ) -> None:
        self._start = start
        self._prepared = prepared
        self._executor = executor
        self._coordinator: Coordinator = prepared.coordinator(
            executor, pool, snapshot, start.initial_parameters
        )
        self._step = snapshot.step if snapshot else 0
        self._resumed = snapshot is not None
        self._saved_step = -1  # what an earlier attempt wrote, the service may not have heard of
        self._saved_at = monotonic()
        self._commands = commands
        self._send = send
        self._save_unstored = save_unstored
        self._reporter = Reporter(send, executor)
        self._ledger = Ledger(prepared.sampler.examples)
        if snapshot:
            self._ledger.restore(snapshot.ledger)
            self._coordinator.noise.restore(snapshot.progress["noise"])
            self._reporter.restore(snapshot.progress.get("warned"))
        self._stopping = EarlyStopping(start.spec.early_stopping)
        self._best = prepared.best(snapshot)
        self._evaluated_step = 0
        if snapshot and (progress := snapshot.progress.get("evaluation")):
            self._evaluated_step = progress["step"]
            self._stopping.restore(progress["early_stopping"])

    def train(self) -> Finished:
        """Steps until the planned end, an order, or an example that is not finite."""
        gc_tuning.spare_what_is_here()
        self._send(
            Started(
                executor=self._executor.kind,
                workers=self._executor.workers,
                threads=self._executor.threads,
                step=self._step,
                steps_planned=self._prepared.steps_planned,
                resumed_from=self._step if self._resumed else None,
            )
        )
        try:
            self._evaluate_if_due()  # an attempt may have ended between a step and its evaluation
            while self._step < self._prepared.steps_planned and not self._stopping.reason:
                if self._commands.interrupted or self._commands.command:
                    return self._end(_outcome(self._commands))
                if self._commands.ledger_wanted():
                    self._write_ledger()
                self._coordinator.step(self._step)
                self._step += 1
                self._take_in(include_pending=False)
                self._evaluate_if_due()
                self._report_if_due()
        except NonFinite as failure:
            with suppress(NonFiniteParameters):  # then an earlier checkpoint is the last good one
                self._checkpoint()
            return _failed(failure.reason, failure, self._step)
        except Failure as failure:
            self._checkpoint()
            return _failed(failure.reason, failure, self._step)
        except ClusterLost:
            self._checkpoint()
            raise
        except Interrupted:
            return self._end("interrupted")
        early = self._step < self._prepared.steps_planned
        return self._end("succeeded", self._stopping.reason if early else None)

    def _end(self, outcome: Outcome, detail: str | None = None) -> Finished:
        snapshot = self._checkpoint()
        about = [detail] if detail else []
        if outcome == "succeeded" and snapshot.best:
            about.append(snapshot.best.said)
        return Finished.model_validate(
            {
                "outcome": outcome,
                "detail": " ".join(about) or None,
                "step": self._step,
                "parameters_digest": snapshot.kept_digest,
                "last_parameters_digest": snapshot.parameters_digest,
            }
        )

    def _evaluate_if_due(self) -> None:
        """Evaluate once after an epoch's last step, and after the run's."""
        last = self._step == self._prepared.steps_planned
        ended = last or self._step % self._prepared.sampler.steps_per_epoch == 0
        if ended and self._step > self._evaluated_step:
            self._evaluate()
            self._evaluated_step = self._step

    def _evaluate(self) -> None:
        """Figures on the validation examples; the job may stop early for them.

        Raises:
            NonFiniteEvaluation: unless such examples are to be dropped.
        """
        evaluation = self._coordinator.evaluate()
        if evaluation.loss is None:
            return
        if not isfinite(evaluation.loss):
            problem = NonFiniteEvaluation(self._step)
            if self._start.spec.nonfinite == "fail":
                raise problem
            self._reporter.warn(self._step, str(problem), of="evaluation")
            return
        epoch = self._prepared.sampler.epoch(self._step - 1) + 1
        best = self._best is not None and self._best.observe(
            self._coordinator.parameters,
            step=self._step,
            epoch=epoch,
            loss=evaluation.loss,
            accuracy=evaluation.accuracy,
        )
        self._reporter.evaluated(
            Evaluated(
                step=self._step,
                epoch=epoch,
                validation_loss=evaluation.loss,
                validation_accuracy=evaluation.accuracy,
                best=best,
            )
        )
        self._stopping.observe(epoch, evaluation.loss, evaluation.accuracy)

    def _report_if_due(self) -> None:
        """A report several times a second, a checkpoint now and then."""
        if self._reporter.due:
            self._report()
        if monotonic() - self._saved_at >= self._start.spec.checkpoint_interval_seconds:
            self._checkpoint()

    def _report(self) -> None:
        """Bring the ledger up to this step, and say what was measured since the last report."""
        self._take_in(include_pending=True)
        self._reporter.flush()

    def _take_in(self, *, include_pending: bool) -> None:
        """What was measured, into ledger and report, while it is in the processor's cache."""
        for measured in self._coordinator.measured(include_pending=include_pending):
            self._ledger.add(measured.ids, measured.losses, measured.norms)
            self._reporter.add(measured)

    def _write_ledger(self) -> None:
        """Let the service read the ledger as it is now, without a whole checkpoint."""
        self._report()
        ledger_files.write(self._start.job_directory, self._step, self._ledger.state())
        self._send(LedgerWritten(step=self._step))

    def _checkpoint(self) -> Snapshot:
        """Write θ and all that goes with it, unless this step's is there; what it holds.

        Raises:
            NonFiniteParameters: θ is not worth going on from.
        """
        self._report()
        self._save_unstored()
        if not np.isfinite(self._coordinator.parameters).all():
            raise NonFiniteParameters(self._step)
        evaluation = {"step": self._evaluated_step, "early_stopping": self._stopping.state()}
        progress = {
            "evaluation": evaluation,
            "noise": self._coordinator.noise.state(),
            "warned": self._reporter.state(),
        }
        snapshot = self._prepared.snapshot(
            self._coordinator,
            self._step,
            self._ledger.state(),
            progress,
            self._best.best() if self._best else None,
        )
        if self._saved_step == self._step:
            return snapshot
        started = perf_counter()
        written = checkpoints.write(self._start.job_directory, snapshot)
        self._reporter.phase("checkpoint", perf_counter() - started)
        self._saved_step, self._saved_at = self._step, monotonic()
        self._send(
            Checkpointed(
                step=self._step,
                time=datetime.now(UTC),
                file=written.path.name,
                bytes=written.bytes,
                digest=written.digest,
                parameters_digest=snapshot.parameters_digest,
                best=snapshot.best.evaluation if snapshot.best else None,
            )
        )
        return snapshot
