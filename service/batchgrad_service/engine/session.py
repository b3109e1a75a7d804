"""One attempt at a job: from the newest checkpoint, step by step, until it ends or has to go."""

import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic, perf_counter

from batchgrad_service.engine import checkpoints
from batchgrad_service.engine.checkpoints import Snapshot
from batchgrad_service.engine.coordinator import Coordinator, NonFiniteExamples
from batchgrad_service.engine.executors import (
    ClusterLost,
    Executor,
    Interrupted,
    NoWorkers,
    executor_for,
)
from batchgrad_service.engine.messages import (
    AnyEngineMessage,
    Checkpointed,
    Evaluated,
    Finished,
    Happened,
    Start,
    Started,
)
from batchgrad_service.engine.orders import Told
from batchgrad_service.engine.preparation import BadInitialParameters, Prepared, prepare
from batchgrad_service.engine.reporter import Reporter
from batchgrad_workers.threads import single_threaded_blas

Send = Callable[[AnyEngineMessage], None]


def run(start: Start, orders: Told, send: Send) -> None:
    """Train as `start` says; every end but a lost cluster is told by a `Finished`.

    Raises:
        ClusterLost: Ray is gone; a checkpoint was written, another attempt can go on.
    """
    single_threaded_blas()
    step = 0
    try:
        snapshot, complaints = checkpoints.newest(start.job_directory)
        for complaint in complaints:
            send(Happened(event="warning", data={"detail": complaint}))
        step = snapshot.step if snapshot else 0
        prepared = prepare(start.spec, start.dataset, snapshot)
        executor = executor_for(start, prepared.setup, lambda: orders.interrupted)
        try:
            send(Session(start, prepared, executor, snapshot, orders, send).train())
        finally:
            executor.close()
    except Interrupted:
        send(Finished(outcome="interrupted", step=step))
    except BadInitialParameters as error:
        send(_failed("bad_initial_parameters", error, step))
    except NoWorkers as error:
        send(_failed("no_workers", error, step))
    except MemoryError as error:
        traceback.print_exc()
        send(_failed("out_of_memory", error, step))
    except ClusterLost:
        raise
    except Exception as error:  # noqa: BLE001  # whatever it is, the job must learn of it
        traceback.print_exc()
        send(_failed("engine_error", error, step))


def _failed(reason: str, error: BaseException, step: int) -> Finished:
    detail = str(error) or type(error).__name__
    return Finished(outcome="failed", reason=reason, detail=detail, step=step)


class Session:
    """The training loop with what surrounds a step: evaluation, checkpoints, orders."""

    def __init__(
        self,
        start: Start,
        prepared: Prepared,
        executor: Executor,
        snapshot: Snapshot | None,
        orders: Told,
        send: Send,
    ) -> None:
        self._start = start
        self._prepared = prepared
        self._executor = executor
        self._coordinator: Coordinator = prepared.coordinator(
            executor, snapshot, start.initial_parameters
        )
        self._step = snapshot.step if snapshot else 0
        self._resumed = snapshot is not None
        self._saved_step = self._step if snapshot else -1
        self._saved_at = monotonic()
        self._orders = orders
        self._send = send
        self._reporter = Reporter(send, executor)

    def train(self) -> Finished:
        """Steps until the planned end, an order, or an example that is not finite."""
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
        self._reporter.pass_on()
        try:
            while self._step < self._prepared.steps_planned:
                if self._orders.interrupted:
                    return self._end("interrupted")
                if self._orders.command:
                    return self._obey(self._orders.command)
                self._reporter.add(self._coordinator.step(self._step))
                self._step += 1
                if self._epoch_ended():
                    self._evaluate()
                if monotonic() - self._saved_at >= self._start.spec.checkpoint_seconds:
                    self._checkpoint()
        except NonFiniteExamples as error:
            self._reporter.flush()
            return _failed("nonfinite", error, self._step)
        except NoWorkers as error:
            self._checkpoint()
            return _failed("no_workers", error, self._step)
        except ClusterLost:
            self._checkpoint()
            raise
        except Interrupted:
            return self._end("interrupted")
        return self._end("succeeded")

    def _obey(self, command: str) -> Finished:
        return self._end("paused" if command == "pause" else "cancelled")

    def _end(self, outcome: str) -> Finished:
        digest = self._checkpoint()
        return Finished.model_validate(
            {"outcome": outcome, "step": self._step, "parameters_digest": digest}
        )

    def _epoch_ended(self) -> bool:
        last = self._step == self._prepared.steps_planned
        return last or self._step % self._prepared.order.steps_per_epoch == 0

    def _evaluate(self) -> None:
        evaluation = self._coordinator.evaluate()
        if evaluation.loss is None:
            return
        self._reporter.flush()
        self._send(
            Evaluated(
                step=self._step,
                epoch=self._prepared.order.epoch(self._step - 1) + 1,
                validation_loss=evaluation.loss,
                validation_accuracy=evaluation.accuracy,
            )
        )

    def _checkpoint(self) -> str:
        """Write θ and all that goes with it, unless this step's is there; its digest."""
        self._reporter.flush()
        snapshot = self._prepared.snapshot(self._coordinator, self._step)
        if self._saved_step == self._step:
            return snapshot.parameters_digest
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
            )
        )
        return snapshot.parameters_digest
