"""One attempt at a job: an engine from its start to its end, and everything that it says."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Literal, Protocol

import structlog

from batchgrad.contract import JobSpec, WorkerRange
from batchgrad_engine import unstored
from batchgrad_engine.messages import (
    LEDGER_FILE,
    AnyEngineMessage,
    ClusterFound,
    ClusterWanted,
    Command,
    Finished,
    LedgerWritten,
    Start,
    Stored,
)
from batchgrad_service.datasets.sources import Sources
from batchgrad_service.jobs.engine_process import EngineProcess, EngineProtocolError
from batchgrad_service.jobs.lifecycle import JobLifecycle
from batchgrad_service.jobs.recovery import EngineStillThereError, await_engine
from batchgrad_service.jobs.reports import AnyReport, Reports
from batchgrad_service.metrics.registry import Metrics
from batchgrad_service.ray_head.cluster import ClusterAddress, ClusterUnavailableError
from batchgrad_service.settings import Settings
from batchgrad_service.store import Patience, Store, StoreUnavailable
from batchgrad_workers.system.disk import lacks_room, no_room
from batchgrad_workers.system.exhaustion import what_lacks
from batchgrad_workers.system.files import hex_of

log = logging.getLogger(__name__)


class Cluster(Protocol):
    """Where engines find Ray workers."""

    def address(self, workers_asked: int) -> ClusterAddress:
        """Where to connect; may take seconds. Raises ClusterUnavailableError."""

    def remove_leftovers(self) -> None:
        """End what an earlier service left."""

    def stop(self) -> None:
        """End the cluster if it is the service's own."""


@dataclass(frozen=True)
class AttemptContext:
    """What all attempts share."""

    store: Store
    metrics: Metrics
    reports: Reports
    settling: JobLifecycle
    cluster: Cluster
    settings: Settings
    sources: Sources
    engine_command: Sequence[str]
    start_engine: Callable[..., EngineProcess]
    patience: Patience


class Attempt:
    """A thread that starts an engine, stores what it reports, and settles the job at its end.

    `ask`, `ledger`, `interrupt` and `kill` may come from any thread, also before the engine is
    there.
    """

    def __init__(
        self, job_id: str, number: int, around: AttemptContext, on_end: Callable[["Attempt"], None]
    ) -> None:
        self.job_id = job_id
        self.number = number
        self._around = around
        self._folder = around.settings.data_dir / "jobs" / job_id
        self._on_end = on_end
        self._lock = threading.Lock()
        self._engine: EngineProcess | None = None
        self._asked: Literal["pause", "cancel"] | None = None
        self._interrupted = False
        self._killed = False
        self._settled = False
        self._unheard = False
        self._last: Finished | None = None
        self._aside: str | None = None  # why it was set aside
        self._over = False
        self._force: threading.Timer | None = None
        self._ledgers = 0  # that the engine wrote so far
        self._ledger_asked = False
        self._ledger_until = 0.0  # how long who asked waits
        self._ledger_news = threading.Condition(self._lock)
        self._thread = threading.Thread(target=self._run, name=f"attempt-{job_id}", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    @property
    def settled(self) -> bool:
        """Whether the job was moved on; false after a failure of the service itself."""
        return self._settled

    def join(self, seconds: float) -> bool:
        """Whether the attempt was over within that time."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def ask(self, command: Literal["pause", "cancel"]) -> None:
        """Pass on what the user wants; by force if the engine does not obey in time."""
        with self._lock:
            self._asked = command
            if self._engine is not None:
                self._engine.send(Command(command=command))
        self._force_later()

    def ledger(self, seconds: float) -> Path | None:
        """The example ledger as it is now, once the engine has written it.

        None if there is no engine, or its step takes longer than that. Who asks while another
        waits gets the same, and waits no longer than that one: an engine that does not read must
        not be sent ever more, nor hold up ever more threads.
        """
        with self._ledger_news:
            if self._engine is None or self._over:
                return None
            before = self._ledgers
            if not self._ledger_asked:
                self._engine.send(Command(command="ledger"))
                self._ledger_asked = True
                self._ledger_until = monotonic() + seconds
            left = max(0.0, self._ledger_until - monotonic())
            self._ledger_news.wait_for(lambda: self._over or self._ledgers > before, left)
            written = self._ledgers > before
        return self._folder / LEDGER_FILE if written else None

    def interrupt(self) -> None:
        """The service stops: ask the engine for a checkpoint and an end."""
        with self._lock:
            self._interrupted = True
            if self._engine is not None:
                self._engine.close_stdin()

    def set_aside(self, why: str) -> None:
        """The disk is nearly full: the same, and the job waits until there is room."""
        with self._lock:
            if self._aside is None:
                self._aside = why
                if self._engine is not None:
                    self._engine.close_stdin()

    def kill(self) -> None:
        """End the engine and everything in its process group now."""
        with self._lock:
            self._killed = True
            if self._engine is not None:
                self._engine.kill()

    def _run(self) -> None:
        # A thread's context is its own: what is bound here stands on each line logged from it.
        structlog.contextvars.bind_contextvars(job_id=self.job_id, attempt=self.number)
        try:
            self._train_and_settle()
        except StoreUnavailable as error:
            log.warning("the next start settles the job: %s", error.detail)
        finally:
            with self._lock:
                self._over = True
                self._ledger_news.notify_all()
                if self._force is not None:
                    self._force.cancel()
            self._around.metrics.forget(self.job_id)
            self._on_end(self)

    def _train_and_settle(self) -> None:
        try:
            self._train()
        except (ClusterUnavailableError, EngineStillThereError) as error:
            self._died("cluster_unavailable", str(error), [])
        except StoreUnavailable:
            raise
        except Exception as error:
            if lacks_room(error):
                self._died("disk_full", no_room(error), [])
            elif lacking := what_lacks(error):
                self._died("machine_exhausted", lacking, [])
            else:
                log.exception("the attempt failed")
                self._died("internal_error", "The service failed; its log has the traceback.", [])

    def _train(self) -> None:
        engine = self._start_engine()
        if engine is None:
            self._died("engine_died", "The engine was ended before it started.", [])
            return
        broken: EngineProtocolError | None = None
        try:
            log.info("engine started, pid %d", engine.pid)
            for number, message in enumerate(engine.messages(), start=1):
                self._hear(engine, number, message)
            if not (self._killed or self._unheard):
                unstored.remove(self._folder)  # all was heard
        except EngineProtocolError as error:
            broken = error
            self.kill()
        except BaseException:
            self.kill()
            raise
        finally:
            self._force_later()  # its output ended: so must the process
            ended = engine.wait()
            log.info("%s", ended)
        reason = "cluster_lost" if ended.cluster_lost and not broken else "engine_died"
        detail = str(broken or ended)
        if reason == "cluster_lost" and self._last and self._last.detail:
            detail = f"The Ray cluster is lost: {self._last.detail}"
        if self._last and self._last.reason == "disk_full":
            reason, detail = "disk_full", self._last.detail or detail
        self._died(reason, detail, ended.log)

    def _start_engine(self) -> EngineProcess | None:
        inputs = self._around.patience(lambda: self._around.store.job_inputs(self.job_id))
        structlog.contextvars.bind_contextvars(request_id=inputs.request_id)
        self._folder.mkdir(parents=True, exist_ok=True)
        await_engine(
            self._folder / "engine.lock", self._around.settings.engine_stop_timeout_seconds
        )
        self._around.patience(lambda: self._around.reports.take_over(self.job_id, self.number))
        workers = _ray_workers(inputs.spec)
        named = self._around.settings.ray_address is not None and inputs.spec.workers == "auto"
        cluster = self._around.cluster.address(workers) if workers or named else None
        start = Start(
            job_id=self.job_id,
            attempt=self.number,
            request_id=inputs.request_id,
            spec=inputs.spec,
            dataset=self._around.sources.of(self.job_id, inputs.dataset_digest),
            job_directory=self._folder,
            initial_parameters=None
            if inputs.initial_parameters is None
            else self._around.settings.data_dir
            / "parameters"
            / f"{hex_of(inputs.initial_parameters)}.safetensors",
            ray_address=None if cluster is None else cluster.address,
            ray_private=True if cluster is None else cluster.private,
            worker_heartbeat_timeout_seconds=self._around.settings.worker_heartbeat_timeout_seconds,
            worker_start_timeout_seconds=self._around.settings.worker_start_timeout_seconds,
        )
        with self._lock:
            if self._asked or self._interrupted or self._killed or self._aside:
                return None
            self._engine = self._around.start_engine(
                start,
                command=self._around.engine_command,
                environment={} if cluster is None else cluster.environment,
                stopped_seconds=self._around.settings.engine_stop_timeout_seconds,
            )
            return self._engine

    def _hear(self, engine: EngineProcess, number: int, message: AnyEngineMessage) -> None:
        if isinstance(message, LedgerWritten):
            with self._ledger_news:
                self._ledgers += 1
                self._ledger_asked = False
                self._ledger_news.notify_all()
        elif isinstance(message, ClusterWanted):
            threading.Thread(
                target=self._find_cluster,
                args=(message.workers,),
                name=f"cluster-{self.job_id}",
                daemon=True,  # it may take a while; reports come in meanwhile
            ).start()
        elif isinstance(message, Finished):
            self._settled = self._around.settling.finished(self.job_id, self.number, message)
            self._last = message
            self._force_later()  # it has said all: now it ends
        elif not self._take(engine, number, message):
            # Another attempt goes on with the job, or the job ended: nothing to do here.
            log.warning("the attempt is stale, its engine ends")
            self._settled = True
            self.kill()

    def _take(self, engine: EngineProcess, number: int, message: AnyReport) -> bool:
        """Store a report, the engine's line of that number; False if the attempt is stale.

        Until it is stored the engine stands.
        """
        if self._unheard:
            return True
        try:
            current = self._around.patience(
                lambda: self._around.reports.take(self.job_id, self.number, message, number)
            )
        except StoreUnavailable as error:  # the service stops: the engine has to end meanwhile
            log.warning("reports are not stored: %s", error.detail)
            self._unheard = True
            return True
        if current:
            engine.send(Stored(stored=number))
        return current

    def _find_cluster(self, workers: int) -> None:
        """Tell a running engine where the private cluster is, starting it if there is none."""
        try:
            found = self._around.cluster.address(workers)
            answer = ClusterFound(address=found.address, environment=found.environment)
        except ClusterUnavailableError as error:
            answer = ClusterFound(address=None, detail=str(error))
        with self._lock:
            if self._engine is not None and not self._over:
                self._engine.send(answer)

    def _died(self, reason: str, detail: str, engine_log: list[str]) -> None:
        """Settle a job whose engine ended without a last word that decides anything."""
        if self._settled:
            return
        if self._interrupted:
            self._around.settling.interrupted(self.job_id, self.number)
        elif self._aside is not None:
            self._around.settling.set_aside(self.job_id, self.number, self._aside)
        elif reason == "disk_full":
            log.warning("%s", detail)
            self._around.settling.disk_full(self.job_id, self.number, detail)
        elif reason == "machine_exhausted":
            log.warning("no engine is started: the machine has no %s left", detail)
            self._around.settling.machine_exhausted(self.job_id, self.number, detail)
        elif reason == "cluster_lost" and self._around.settings.ray_address is not None:
            log.warning("%s", detail)
            self._around.settling.cluster_away(self.job_id, self.number, detail, engine_log)
        else:
            self._around.settling.died(self.job_id, self.number, reason, detail, engine_log)
        self._settled = True

    def _force_later(self) -> None:
        with self._lock:
            if self._force is None and not self._over:
                self._force = threading.Timer(
                    self._around.settings.engine_stop_timeout_seconds, self.kill
                )
                self._force.daemon = True
                self._force.start()


def _ray_workers(spec: JobSpec) -> int:
    """How many Ray workers the job may have; 0 when it needs no cluster."""
    if isinstance(spec.workers, WorkerRange):
        return spec.workers.max
    return 0 if spec.workers == "auto" else spec.workers
