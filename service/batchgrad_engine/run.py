"""Train from a snapshot to the job's end: steps, evaluations, reports, checkpoints, commands."""

from collections.abc import Callable
from contextlib import closing, suppress
from time import perf_counter

import numpy as np

from batchgrad_engine.checkpoints import ledger_files
from batchgrad_engine.checkpoints.checkpoints import Snapshot
from batchgrad_engine.checkpoints.example_ledger import Ledger
from batchgrad_engine.checkpoints.writer import CheckpointWriter
from batchgrad_engine.commands import CommandSource, outcome_of
from batchgrad_engine.executors.protocol import ClusterLost, Executor, Interrupted
from batchgrad_engine.failures import (
    BadInputs,
    Failure,
    NonFinite,
    NonFiniteParameters,
    failed,
    failed_in_private,
)
from batchgrad_engine.messages import Finished, LedgerWritten, Outcome, Sent, Start, Started
from batchgrad_engine.preparation.prepared import Prepared
from batchgrad_engine.reporter import Reporter
from batchgrad_engine.training.validation import Validation
from batchgrad_workers.module_config import BadModule
from batchgrad_workers.runtime.threads import ThreadPool
from batchgrad_workers.system import gc_tuning


class TrainingRun:
    """The training loop, and what happens between steps."""

    def __init__(
        self,
        start: Start,
        prepared: Prepared,
        executor: Executor,
        pool: ThreadPool,
        snapshot: Snapshot | None,
        commands: CommandSource,
        send: Callable[[Sent], None],
        save_unstored: Callable[[], None],
    ) -> None:
        spec = start.spec
        self._job_directory = start.job_directory
        self._prepared = prepared
        self._executor = executor
        self._commands = commands
        self._send = send
        self._save_unstored = save_unstored
        self._resumed_from = snapshot.step if snapshot else None
        self._step = snapshot.step if snapshot else 0
        self._coordinator = (
            prepared.coordinator(executor, pool, snapshot, start.initial_parameters)
            if start.privacy is None
            else prepared.private_coordinator(
                executor, pool, snapshot, start.initial_parameters, start.job_directory
            )
        )
        self._failed = failed if start.privacy is None else failed_in_private
        self._reporter = Reporter(send, executor, private=start.privacy is not None)
        self._ledger = Ledger(len(prepared.examples))
        self._validation = Validation(
            self._coordinator,
            self._reporter,
            prepared.sampler,
            steps_planned=prepared.steps_planned,
            best=prepared.best(snapshot),
            early_stopping=spec.early_stopping,
            nonfinite=spec.nonfinite,
        )
        self._writer = CheckpointWriter(start.job_directory, spec.checkpoint_interval_seconds, send)
        if snapshot:
            self._restore(snapshot)
            if snapshot.step == start.lengthened_step:
                self._validation.train_on()

    def train(self) -> Finished:
        """Step until the planned end, an early stop, a command, or a failure.

        Each end writes a checkpoint; a failure for parameters that are not finite writes none.

        Raises:
            ClusterLost: Ray is gone.
        """
        gc_tuning.freeze_existing_objects()
        self._send_started()
        with closing(self._coordinator):
            return self._train_to_an_end()

    def _train_to_an_end(self) -> Finished:
        try:
            return self._train_until_finished()
        except NonFinite as failure:
            with suppress(NonFiniteParameters):  # an earlier checkpoint is the last good one
                self._checkpoint()
            return failed(failure.reason, failure, self._step)
        except Failure as failure:
            self._checkpoint()
            return self._failed(failure.reason, failure, self._step)
        except BadModule as error:
            self._checkpoint()
            return failed(BadInputs.reason, error, self._step)
        except ClusterLost:
            self._checkpoint()
            raise
        except Interrupted:
            return self._finish("interrupted")

    def _train_until_finished(self) -> Finished:
        # The earlier attempt may have ended between an epoch's last step and its evaluation.
        self._validation.run_if_due(self._step)
        while self._step < self._prepared.steps_planned and not self._validation.stop_reason:
            if self._commands.interrupted or self._commands.command:
                return self._finish(outcome_of(self._commands))
            if self._commands.ledger_wanted():
                self._write_ledger()
            self._coordinator.step(self._step)
            self._step += 1
            self._collect(include_pending=False)
            self._validation.run_if_due(self._step)
            if self._reporter.due:
                self._report()
            if self._writer.due:
                self._checkpoint()
        stopped_early = self._step < self._prepared.steps_planned
        return self._finish("succeeded", self._validation.stop_reason if stopped_early else None)

    def _send_started(self) -> None:
        self._send(
            Started(
                executor=self._executor.kind,
                workers=self._executor.workers,
                threads=self._executor.threads,
                step=self._step,
                steps_planned=self._prepared.steps_planned,
                resumed_from=self._resumed_from,
            )
        )

    def _finish(self, outcome: Outcome, stop_reason: str | None = None) -> Finished:
        """Write the last checkpoint, and describe the end."""
        snapshot = self._checkpoint()
        sentences = [stop_reason] if stop_reason else []
        if outcome == "succeeded" and snapshot.best:
            sentences.append(snapshot.best.sentence)
        return Finished(
            outcome=outcome,
            detail=" ".join(sentences) or None,
            step=self._step,
            parameters_digest=snapshot.kept_digest,
            last_parameters_digest=snapshot.parameters_digest,
        )

    def _report(self) -> None:
        """Add every completed step to the ledger, and send the report."""
        self._collect(include_pending=True)
        self._reporter.flush()

    def _collect(self, *, include_pending: bool) -> None:
        """Add measured steps to ledger and report, while they are in the processor's cache."""
        for measured in self._coordinator.measured(include_pending=include_pending):
            self._ledger.add(measured.ids, measured.losses, measured.norms)
            self._reporter.add(measured)

    def _write_ledger(self) -> None:
        """Write the current ledger for the service to read, without a whole checkpoint."""
        self._report()
        ledger_files.write(self._job_directory, self._step, self._ledger.state())
        self._send(LedgerWritten(step=self._step))

    def _checkpoint(self) -> Snapshot:
        """Write the current state as a checkpoint, unless that is done, and return it.

        Raises:
            NonFiniteParameters: θ is not finite, so that no attempt could resume from it.
        """
        self._report()
        self._save_unstored()
        if not np.isfinite(self._coordinator.parameters).all():
            raise NonFiniteParameters(self._step)
        snapshot = self._prepared.snapshot(
            self._coordinator,
            self._step,
            ledger=self._ledger.state(),
            progress={
                "evaluation": self._validation.state(),
                **self._coordinator.state(),
                "warned": self._reporter.state(),
            },
            best=self._validation.best.best() if self._validation.best else None,
        )
        started = perf_counter()
        if self._writer.write(snapshot):
            self._reporter.phase("checkpoint", perf_counter() - started)
        return snapshot

    def _restore(self, snapshot: Snapshot) -> None:
        """Continue from the `progress` and the ledger that `_checkpoint` wrote."""
        self._ledger.restore(snapshot.ledger)
        self._coordinator.restore(snapshot.step, snapshot.progress)
        self._reporter.restore(snapshot.progress.get("warned"))
        if evaluation := snapshot.progress.get("evaluation"):
            self._validation.restore(evaluation)
