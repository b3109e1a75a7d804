"""The context that all attempts share: store, settings, cluster, how to start an engine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from batchgrad.contract import JobSpec, WorkerRange
from batchgrad_engine.messages import ClusterFound, Start
from batchgrad_service.datasets.sources import Sources
from batchgrad_service.jobs.engine_process import EngineProcess
from batchgrad_service.jobs.lifecycle import JobLifecycle
from batchgrad_service.jobs.reports import Reports
from batchgrad_service.metrics.registry import Metrics
from batchgrad_service.privacy.jobs import PrivateJobs
from batchgrad_service.ray_head.cluster import ClusterAddress, ClusterUnavailableError
from batchgrad_service.settings import Settings
from batchgrad_service.store import JobInputs, Store, StoreRetry
from batchgrad_service.validation.torch.rules import TorchRules
from batchgrad_workers.system.files import hex_of


class Cluster(Protocol):
    """The Ray cluster on which engines find workers."""

    def address(self, workers: int) -> ClusterAddress:
        """Return where to connect; may take seconds. Raises ClusterUnavailableError."""

    def remove_leftovers(self) -> None:
        """End and remove what an earlier service left."""

    def stop(self) -> None:
        """End the cluster if it is the service's own."""


@dataclass(frozen=True)
class AttemptContext:
    """What all attempts share."""

    store: Store
    metrics: Metrics
    reports: Reports
    lifecycle: JobLifecycle
    private: PrivateJobs
    cluster: Cluster
    settings: Settings
    sources: Sources
    engine_command: Sequence[str]
    start_engine: Callable[..., EngineProcess]
    retry: StoreRetry

    def job_folder(self, job_id: str) -> Path:
        """Return the folder of a job's checkpoints and logs."""
        return self.settings.data_dir / "jobs" / job_id

    def cluster_for(self, spec: JobSpec) -> ClusterAddress | None:
        """Return the cluster that a job needs from its start; None if it needs none.

        Raises:
            ClusterUnavailableError: the private cluster does not start.
        """
        workers = _ray_workers(spec)
        named = self.settings.ray_address is not None and spec.workers == "auto"
        return self.cluster.address(workers) if workers or named else None

    def find_cluster(self, workers: int) -> ClusterFound:
        """Return the answer to an engine that wants a cluster for `workers` workers."""
        try:
            found = self.cluster.address(workers)
        except ClusterUnavailableError as error:
            return ClusterFound(address=None, detail=str(error))
        return ClusterFound(address=found.address, environment=found.environment)

    def start_message(
        self, job_id: str, attempt: int, inputs: JobInputs, cluster: ClusterAddress | None
    ) -> Start:
        """Return the first message to the attempt's engine.

        Raises:
            InvalidError: the job's code may not run any longer.
            KeyGoneError: the job is private, and its key is gone.
        """
        settings = self.settings
        parameters = settings.data_dir / "parameters"
        digest = inputs.initial_parameters
        return Start(
            job_id=job_id,
            attempt=attempt,
            request_id=inputs.request_id,
            spec=inputs.spec,
            dataset=self.sources.of(job_id, inputs.dataset_digest),
            validation_dataset=(
                None
                if inputs.validation_digest is None
                else self.sources.of(job_id, inputs.validation_digest)
            ),
            job_directory=self.job_folder(job_id),
            initial_parameters=(
                None if digest is None else parameters / f"{hex_of(digest)}.safetensors"
            ),
            code=TorchRules.of(settings).code_of(inputs.spec, settings.data_dir),
            privacy=self.private.start(job_id, inputs.spec.privacy),
            ray_address=None if cluster is None else cluster.address,
            ray_private=True if cluster is None else cluster.private,
            lengthened_step=inputs.lengthened_step,
            worker_heartbeat_timeout_seconds=settings.worker_heartbeat_timeout_seconds,
            worker_start_timeout_seconds=settings.worker_start_timeout_seconds,
            siblings_from_nodes=settings.siblings_from_nodes,
        )


def _ray_workers(spec: JobSpec) -> int:
    """Return the most Ray workers that the job may have; 0 if it needs no cluster at its start."""
    if isinstance(spec.workers, WorkerRange):
        return spec.workers.max
    return 0 if spec.workers == "auto" else spec.workers
