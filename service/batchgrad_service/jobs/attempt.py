"""One attempt at a job: start an engine, store what it reports, change the job's status at its end.

A job has as many attempts as engines were started for it; attempts are numbered from 1.
"""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import structlog

from batchgrad_engine.checkpoints import unstored_messages
from batchgrad_engine.messages import (
    LEDGER_FILE,
    AnyEngineMessage,
    ClusterWanted,
    Command,
    Finished,
    LedgerWritten,
    Stored,
)
from batchgrad_service.jobs.context import AttemptContext
from batchgrad_service.jobs.engine_process import EngineProcess, EngineProtocolError
from batchgrad_service.jobs.failures import Failure, failure_of_error, failure_of_exit
from batchgrad_service.jobs.ledger_requests import LedgerRequests
from batchgrad_service.jobs.recovery import await_engine
from batchgrad_service.jobs.reports import AnyReport
from batchgrad_service.store import StoreUnavailable

log = logging.getLogger(__name__)


class Attempt:
    """A thread that runs one engine and changes the job's status when the engine ends.

    `send`, `ledger`, `interrupt`, `suspend` and `kill` may be called from any thread, also before
    the engine is started.
    """

    def __init__(
        self, job_id: str, number: int, context: AttemptContext, on_end: Callable[["Attempt"], None]
    ) -> None:
        self.job_id = job_id
        self.number = number
        self._context = context
        self._folder = context.job_folder(job_id)
        self._on_end = on_end
        self._lock = threading.Lock()
        self._engine: EngineProcess | None = None
        self._command: Literal["pause", "cancel"] | None = None
        self._interrupted = False
        self._killed = False
        self._status_stored = False
        self._reports_unstored = False
        self._last: Finished | None = None
        self._suspended_because: str | None = None
        self._over = False
        self._kill_timer: threading.Timer | None = None
        self._ledgers = LedgerRequests()
        self._thread = threading.Thread(target=self._run, name=f"attempt-{job_id}", daemon=True)

    def start(self) -> None:
        """Start the thread; return at once."""
        self._thread.start()

    @property
    def status_stored(self) -> bool:
        """Whether the job's status after this attempt is stored; False if the service failed."""
        return self._status_stored

    def join(self, seconds: float) -> bool:
        """Wait for the attempt's end; return whether it ended within `seconds`."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def send(self, command: Literal["pause", "cancel"]) -> None:
        """Send a user's command to the engine; kill the engine if it does not obey in time."""
        with self._lock:
            self._command = command
            if self._engine is not None:
                self._engine.send(Command(command=command))
        self._kill_later()

    def ledger(self, seconds: float) -> Path | None:
        """Have the engine write the example ledger; return the file.

        None if there is no engine, or if it does not write the ledger within `seconds`.
        """
        with self._lock:
            engine = None if self._over else self._engine
        if engine is None:
            return None
        written = self._ledgers.wait(lambda: engine.send(Command(command="ledger")), seconds)
        return self._folder / LEDGER_FILE if written else None

    def interrupt(self) -> None:
        """Have the engine write a checkpoint and end, because the service stops."""
        with self._lock:
            self._interrupted = True
            if self._engine is not None:
                self._engine.close_stdin()

    def suspend(self, because: str) -> None:
        """Have the engine write a checkpoint and end, because the disk is nearly full."""
        with self._lock:
            if self._suspended_because is None:
                self._suspended_because = because
                if self._engine is not None:
                    self._engine.close_stdin()

    def kill(self) -> None:
        """Kill the engine and everything in its process group now."""
        with self._lock:
            self._killed = True
            if self._engine is not None:
                self._engine.kill()

    def _run(self) -> None:
        # A thread has its own context: every line logged by this thread has these values.
        structlog.contextvars.bind_contextvars(job_id=self.job_id, attempt=self.number)
        try:
            if failure := self._failure():
                self._store_status(failure)
        except StoreUnavailable as error:
            log.warning("The next start stores the job's status: %s", error.detail)
        finally:
            with self._lock:
                self._over = True
                if self._kill_timer is not None:
                    self._kill_timer.cancel()
            self._ledgers.close()
            self._context.metrics.forget(self.job_id)
            self._on_end(self)

    def _failure(self) -> Failure | None:
        """Train, and return what ended the training; None if the job's new status is stored."""
        try:
            failure = self._train()
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - the job's status must follow from any of them
            failure = failure_of_error(error)
        return None if self._status_stored else failure

    def _train(self) -> Failure:
        engine = self._start_engine()
        if engine is None:
            return Failure("engine_died", "The engine was ended before it started.")
        broken: EngineProtocolError | None = None
        try:
            log.info("The engine has started, pid %d.", engine.pid)
            for line, message in enumerate(engine.messages(), start=1):
                self._handle(engine, line, message)
            if not (self._killed or self._reports_unstored):
                unstored_messages.remove(self._folder)  # every report is stored
        except EngineProtocolError as error:
            broken = error
            self.kill()
        except BaseException:
            self.kill()
            raise
        finally:
            self._kill_later()  # its output has ended, so the process must end too
            ended = engine.wait()
            log.info("%s", ended)
        return failure_of_exit(ended, broken, self._last)

    def _start_engine(self) -> EngineProcess | None:
        """Start the engine; None if the attempt was ended before."""
        context, timeout = self._context, self._context.settings.engine_stop_timeout_seconds
        inputs = context.retry(lambda: context.store.job_inputs(self.job_id))
        structlog.contextvars.bind_contextvars(request_id=inputs.request_id)
        self._folder.mkdir(parents=True, exist_ok=True)
        await_engine(self._folder / "engine.lock", timeout)
        context.retry(lambda: context.reports.take_over(self.job_id, self.number))
        cluster = context.cluster_for(inputs.spec)
        start = context.start_message(self.job_id, self.number, inputs, cluster)
        with self._lock:
            if self._command or self._interrupted or self._killed or self._suspended_because:
                return None
            self._engine = context.start_engine(
                start,
                command=context.engine_command,
                environment={} if cluster is None else cluster.environment,
                stopped_seconds=timeout,
            )
            return self._engine

    def _handle(self, engine: EngineProcess, line: int, message: AnyEngineMessage) -> None:
        if isinstance(message, LedgerWritten):
            self._ledgers.written()
        elif isinstance(message, ClusterWanted):
            threading.Thread(
                target=self._find_cluster,
                args=(message.workers,),
                name=f"cluster-{self.job_id}",
                daemon=True,  # it may take a while, and reports arrive meanwhile
            ).start()
        elif isinstance(message, Finished):
            lifecycle = self._context.lifecycle
            self._status_stored = lifecycle.finished(self.job_id, self.number, message)
            self._last = message
            self._kill_later()  # this was its last message, so now it must end
        elif not self._store_report(engine, line, message):
            # Another attempt continues the job, or the job has ended: nothing to do here.
            log.warning("The attempt is stale; its engine is killed.")
            self._status_stored = True
            self.kill()

    def _store_report(self, engine: EngineProcess, line: int, message: AnyReport) -> bool:
        """Store a report, line `line` of the engine's output; False if the attempt is stale.

        The engine waits until the report is stored.
        """
        if self._reports_unstored:
            return True
        try:
            current = self._context.retry(
                lambda: self._context.reports.take(self.job_id, self.number, message, line)
            )
        except StoreUnavailable as error:  # the service stops: the engine must be able to end
            log.warning("Reports are not stored: %s", error.detail)
            self._reports_unstored = True
            return True
        if current:
            engine.send(Stored(stored=line))
        return current

    def _find_cluster(self, workers: int) -> None:
        """Send the engine the address of the private cluster, which may have to start first."""
        answer = self._context.find_cluster(workers)
        with self._lock:
            if self._engine is not None and not self._over:
                self._engine.send(answer)

    def _store_status(self, failure: Failure) -> None:
        """Change the status of a job whose engine ended without an outcome."""
        lifecycle = self._context.lifecycle
        if self._interrupted:
            lifecycle.interrupted(self.job_id, self.number)
        elif self._suspended_because is not None:
            lifecycle.suspended(self.job_id, self.number, self._suspended_because)
        else:
            lifecycle.failed(self.job_id, self.number, failure)
        self._status_stored = True

    def _kill_later(self) -> None:
        with self._lock:
            if self._kill_timer is None and not self._over:
                timeout = self._context.settings.engine_stop_timeout_seconds
                self._kill_timer = threading.Timer(timeout, self.kill)
                self._kill_timer.daemon = True
                self._kill_timer.start()
