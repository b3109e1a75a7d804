"""The objects that routes use (`Services`), as a FastAPI dependency."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Protocol, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter
from fastapi import Depends, Request
from prometheus_client import CollectorRegistry
from starlette.concurrency import run_in_threadpool

from batchgrad.contract import (
    Job,
    JobSpec,
    Plan,
    ResumeRequest,
    Version,
)
from batchgrad_engine.privacy.accounted import Accounted
from batchgrad_service.datasets.datasets import Datasets
from batchgrad_service.datasets.initial_parameters import Exporter, StoredParameters
from batchgrad_service.datasets.sources import Sources
from batchgrad_service.datasets.uploaded_code import UploadedCode
from batchgrad_service.datasets.uploaded_files import UploadedFiles
from batchgrad_service.disk_space import DiskSpace
from batchgrad_service.http.authenticator import Authenticator
from batchgrad_service.http.body_buffer import BodyBuffer
from batchgrad_service.http.job_answers import JobAnswers
from batchgrad_service.http.json_bodies import read_body
from batchgrad_service.http.spool import Spool
from batchgrad_service.jobs.event_feed import EventFeeds
from batchgrad_service.jobs.replays import Replays
from batchgrad_service.operations.operations import Operations, Worker
from batchgrad_service.preflights.planning import TorchPlanner
from batchgrad_service.privacy.jobs import PrivateJobs
from batchgrad_service.questions.kinds import Kind, PlanQuestion
from batchgrad_service.shutdown import Shutdown
from batchgrad_service.store import JobInputs, Store
from batchgrad_service.validation.job_data import JobData
from batchgrad_service.validation.private_workers import check_private_gpus, check_private_workers
from batchgrad_service.validation.torch.rules import TorchRules
from batchgrad_workers.user_code.sources import CodeSource

Planner = Callable[[JobSpec, JobData], Plan]
Result = TypeVar("Result")
HEAVY_AT_ONCE = 2
SMALL_SPEC_BYTES = 2**16
SMALL_DATA_BYTES = 2**26
"""Larger specs and datasets are checked in a separate process, not in a thread."""


class Questions(Worker, Protocol):
    """Computes responses that need much time or memory, in separate processes."""

    async def ask(self, kind: Kind, body: bytes, *, data_bytes: int = 0) -> IO[bytes]:
        """The answer to `body`, for which `data_bytes` of stored data are read.

        Raises:
            ProblemError: the request is invalid, too large, or cannot be answered now.
        """


class Supervisor(Protocol):
    """Runs the jobs.

    `cancel`, `pause`, `resume` and `lengthen` raise NotFoundError and ConflictError.
    """

    def notify(self) -> None:
        """Start queued jobs."""

    def cancel(self, job_id: str) -> Job:
        """Cancel a job after its current step."""

    def pause(self, job_id: str) -> Job:
        """Pause a job after its current step."""

    def resume(self, job_id: str) -> Job:
        """Queue a paused job again."""

    def lengthen(
        self, job_id: str, more: ResumeRequest, idempotency_key: str | None, body_digest: str
    ) -> Job:
        """Queue a job that has ended, to train on."""

    def end_engine(self, job_id: str) -> None:
        """Wait until an ended job has no engine any more."""

    def ledger(self, job_id: str, seconds: float) -> Path | None:
        """A running job's current example ledger; None if writing it takes more than `seconds`."""

    def ready(self) -> bool:
        """Whether jobs can run."""


class PrivatePlanner(Protocol):
    """Finds out the noise and the ε of private jobs."""

    async def complete(self, planned: Plan, spec: JobSpec, data: JobData) -> tuple[Plan, Accounted]:
        """The plan with its privacy, and what follows for each step.

        Raises:
            ProblemError: there is no such noise.
        """


@dataclass(frozen=True)
class Planned:
    """A plan, and the accounting of a private job."""

    plan: Plan
    accounted: Accounted | None


@dataclass(frozen=True)
class Services:
    """The objects that routes use. `exporters` write a checkpoint file in a download format."""

    data_dir: Path
    store: Store
    job_answers: JobAnswers
    supervisor: Supervisor
    disk: DiskSpace
    datasets: Datasets
    uploads: UploadedFiles
    operations: Operations
    sources: Sources
    parameters: StoredParameters
    code: UploadedCode
    torch: TorchRules
    torch_planner: TorchPlanner
    planner: Planner
    questions: Questions
    feeds: EventFeeds
    bodies: BodyBuffer
    spool: Spool
    heavy: CapacityLimiter
    replays: Replays
    private: PrivateJobs
    private_planner: PrivatePlanner
    exporters: Mapping[str, Exporter]
    registry: CollectorRegistry
    version: Version
    authenticator: Authenticator | None
    shutdown: Shutdown
    guide: Path
    private_cluster: bool
    keep_alive_seconds: float = 15.0

    async def read_spec(self, body: bytes) -> JobSpec:
        """The job spec in a request's body; ProblemError if it is invalid."""
        if len(body) <= SMALL_SPEC_BYTES:
            return await run_in_threadpool(read_body, JobSpec, body)
        with await self.questions.ask("spec", body) as answer:
            return await run_in_threadpool(lambda: JobSpec.model_validate_json(answer.read()))

    async def plan(self, spec: JobSpec, data: JobData) -> Planned:
        """The job's plan; ProblemError if spec, datasets and machine do not fit together."""
        self.torch.check(spec)
        if self.private_cluster:
            check_private_gpus(spec)
        planned = await self._planned(spec, data)
        if spec.model.torch is not None:
            planned = await self.torch_planner.complete(planned, spec, data)
        if self.private_cluster:
            check_private_workers(spec, planned.memory_bytes)
        accounted = None
        if spec.privacy is not None:
            planned, accounted = await self.private_planner.complete(planned, spec, data)
            planned = await run_in_threadpool(
                self.private.completed,
                self.store,
                planned,
                accounted,
                data.protected_digests(spec),
            )
        return Planned(planned, accounted)

    async def _planned(self, spec: JobSpec, data: JobData) -> Plan:
        if data.bytes <= SMALL_DATA_BYTES:
            return await run_in_threadpool(self.planner, spec, data)
        body = PlanQuestion(spec=spec, data=data).model_dump_json().encode()
        with await self.questions.ask("plan", body, data_bytes=data.bytes) as answer:
            return Plan.model_validate_json(answer.read())

    def code_of(self, inputs: JobInputs) -> CodeSource | None:
        """Where the code of a PyTorch job is; None of layers.

        Raises:
            InvalidError: it may not run any longer.
        """
        return self.torch.code_of(inputs.spec, self.data_dir)

    def problem(self) -> tuple[str, str] | None:
        """The code and message of what prevents jobs from running; None if nothing does."""
        if shortage := self.disk.shortage():
            return "disk_full", f"{shortage} Running jobs have stopped until then."
        if self.store.damage:
            return "database_damaged", self.store.damage
        return None

    async def run_heavy(self, work: Callable[[], Result]) -> Result:
        """Run `work`, which needs much memory, in a thread; at most HEAVY_AT_ONCE at a time."""
        return await anyio.to_thread.run_sync(work, limiter=self.heavy)

    def job_directory(self, job_id: str) -> Path:
        """The directory of a job's files; `job_id` must be the id of a stored job."""
        return self.data_dir / "jobs" / job_id


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(_services)]
