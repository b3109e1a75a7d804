import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from batchgrad.contract import Event, JobSpec, JobStatus, Plan
from batchgrad_service.disk_space import DiskSpace
from batchgrad_service.jobs.restarts import ReconnectBackoff
from batchgrad_service.jobs.supervisor import Supervisor
from batchgrad_service.metrics.registry import Metrics
from batchgrad_service.ray_head.cluster import ClusterAddress, ClusterUnavailableError
from batchgrad_service.settings import Settings
from batchgrad_service.store import Store

FAKE_ENGINE = (sys.executable, str(Path(__file__).with_name("fake_engine.py")))
DIGEST = "sha256:" + "1" * 64
PATIENCE_SECONDS = 60.0


@dataclass
class FakeCluster:
    """Records the requested numbers of workers; `broken` makes it refuse."""

    broken: bool = False
    requested: list[int] = field(default_factory=list)
    leftovers_removed: int = 0
    stopped: bool = False

    def address(self, workers: int) -> ClusterAddress:
        self.requested.append(workers)
        if self.broken:
            raise ClusterUnavailableError("no room for Ray")
        return ClusterAddress("127.0.0.1:1", private=True, environment={"SEEN": "yes"})

    def remove_leftovers(self) -> None:
        self.leftovers_removed += 1

    def stop(self) -> None:
        self.stopped = True


@dataclass
class Bench:
    """A store, and supervisors over it one after the other, as in a service that restarts."""

    data_dir: Path
    store: Store
    registry: CollectorRegistry
    metrics: Metrics
    cluster: FakeCluster = field(default_factory=FakeCluster)
    supervisors: list[Supervisor] = field(default_factory=list)
    engine_command: tuple[str, ...] = FAKE_ENGINE
    free_bytes: int = 2**40
    disk_error: OSError | None = None

    def supervisor(
        self,
        *,
        at_once: int = 4,
        grace: float = 20.0,
        ray_address: str | None = None,
        **injected: Any,
    ) -> Supervisor:
        settings = Settings(
            data_dir=self.data_dir,
            max_running_jobs=at_once,
            engine_stop_timeout_seconds=grace,
            ray_address=ray_address,
        )
        made = Supervisor(
            settings,
            self.store,
            self.metrics,
            engine_command=self.engine_command,
            cluster=self.cluster,
            **injected,
            disk=DiskSpace([self.data_dir], 2**20, self._free),
        )
        made.start()
        self.supervisors.append(made)
        return made

    def _free(self, _folder: Path) -> int:
        if self.disk_error:
            raise self.disk_error
        return self.free_bytes

    def submit(self, *, workers: Any = 0, max_restarts: int = 3, **labels: int) -> str:
        """Submit a job; `labels` control the fake engine."""
        spec = JobSpec.model_validate(
            {
                "name": "fake",
                "dataset": "fake",
                "model": {"layers": [{"kind": "linear", "out_features": 1}]},
                "loss": "squared_error",
                "optimizer": {"kind": "sgd", "learning_rate": 0.1},
                "batch_size": 4,
                "steps": labels.get("steps", 5),
                "workers": workers,
                "max_restarts": max_restarts,
                "labels": {name: str(value) for name, value in labels.items()},
            }
        )
        plan = Plan(
            dataset_digest=DIGEST,
            training_examples=4,
            validation_examples=0,
            parameters=2,
            layers=[],
            steps_planned=5,
            steps_per_epoch=1,
            microbatches_per_step=1,
            microbatch_size=4,
            shortcuts=[],
            gradient_bytes=8,
            memory_bytes=100,
            warnings=[],
        )
        job, _ = self.store.create_job(
            spec,
            dataset_digest=DIGEST,
            steps_planned=5,
            warnings=[],
            plan=plan,
            initial_parameters=None,
            idempotency_key=None,
            body_digest="none",
        )
        for supervisor in self.supervisors:
            supervisor.notify()
        return job.id

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for another thread or process; fail after a long timeout."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(0.01)

    def status(self, job_id: str) -> JobStatus:
        return self.store.job(job_id).status

    def until_status(self, job_id: str, *statuses: JobStatus) -> None:
        self.until(lambda: self.status(job_id) in statuses)

    def until_tried(self, job_id: str, *statuses: JobStatus) -> None:
        """Wait for a status; wake the supervisor meanwhile, as other requests do in a service."""

        def reached() -> bool:
            self.supervisors[-1].notify()
            return self.status(job_id) in statuses

        self.until(reached)

    def until_step(self, job_id: str, step: int) -> None:
        self.until(lambda: self.status(job_id) == "running" and self.store.job(job_id).step == step)

    def states(self, job_id: str) -> list[Event]:
        return [e for e in self.store.events(job_id, limit=1000).data if e.type == "state"]

    def path(self, job_id: str) -> list[str]:
        """All statuses of the job so far."""
        return [event.data["status"] for event in self.states(job_id)]

    def folder(self, job_id: str) -> Path:
        return self.data_dir / "jobs" / job_id

    def engine(self, job_id: str) -> int:
        """The engine's pid, from its lock file."""
        holder: dict[str, int] = json.loads((self.folder(job_id) / "engine.lock").read_text())
        return holder["pid"]

    def until_gone(self, pid: int) -> None:
        """Wait for a process's end; a zombie has ended."""
        stat = Path("/proc") / str(pid) / "stat"
        self.until(lambda: not stat.exists() or stat.read_text().rpartition(")")[2][1] == "Z")

    def ended(self, outcome: str, reason: str = "") -> float:
        """batchgrad_jobs_finished_total."""
        labels = {"outcome": outcome, "reason": reason}
        return self.registry.get_sample_value("batchgrad_jobs_finished_total", labels) or 0.0


def fast_backoff() -> ReconnectBackoff:
    """Waits on a clock that runs a thousand times as fast."""
    return ReconnectBackoff(lambda: 1000 * time.monotonic())


@pytest.fixture
def bench(migrated: Path, tmp_path: Path) -> Iterator[Bench]:
    shutil.copy(migrated, tmp_path)
    store = Store(f"sqlite:///{tmp_path / migrated.name}")
    registry = CollectorRegistry()
    metrics = Metrics(registry, version="test", count_jobs=store.count_by_status)
    made = Bench(tmp_path, store, registry, metrics)
    yield made
    for supervisor in made.supervisors:
        supervisor.stop(grace=5.0)
    store.close()
