"""A service that trains private jobs: its HTTP, a real supervisor, an accountant that can count."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient

from batchgrad.contract import TERMINAL, Job, JobSpec, Plan, PlannedPrivacy
from batchgrad_engine.checkpoints.exports import parameters_as_npz, parameters_as_safetensors
from batchgrad_engine.privacy.accounted import Accounted
from batchgrad_engine.privacy.schedule import EpsilonSchedule
from batchgrad_service.app import create_app
from batchgrad_service.jobs.supervisor import Supervisor
from batchgrad_service.metrics.registry import Metrics
from batchgrad_service.settings import Settings
from batchgrad_service.store import PrivateJob, Store
from batchgrad_service.validation import plan
from batchgrad_service.validation.job_data import JobData
from tests.service.building import npz
from tests.service.inline_questions import InlineQuestions

PATIENCE_SECONDS = 60.0
STEP_EPSILON = 0.1
"""What each step spends here; a job may be charged for twice as many steps as it has."""


def accounted(steps: int) -> Accounted:
    stride = max(1, steps // 1000)
    grid = tuple(sorted({*range(stride, 2 * steps, stride), steps, 2 * steps}))
    schedule = EpsilonSchedule(grid, tuple(STEP_EPSILON * step for step in grid))
    return Accounted(0.7, 0.1, steps, schedule.at(steps), schedule)


def planned(steps: int, **changes: Any) -> PlannedPrivacy:
    values = {
        "noise_multiplier": 0.7,
        "sampling_rate": 0.1,
        "epsilon": STEP_EPSILON * steps,
        "delta": 1e-3,
        "steps": steps,
        "accountant": "pld",
    }
    return PlannedPrivacy.model_validate({**values, **changes})


def private_job(steps: int, **changes: Any) -> PrivateJob:
    return PrivateJob.of(planned(steps, **changes), accounted(steps))


class LinearPlanner:
    """An accountant by which each step spends STEP_EPSILON."""

    async def complete(
        self,
        planned_job: Plan,
        spec: JobSpec,
        data: JobData,  # noqa: ARG002
    ) -> tuple[Plan, Accounted]:
        assert spec.privacy is not None
        privacy = planned(planned_job.steps_planned, delta=spec.privacy.delta)
        return planned_job.model_copy(update={"privacy": privacy}), accounted(privacy.steps)


def spec(**changes: Any) -> dict[str, Any]:
    """A private job on the dataset `rows`, as JSON."""
    return {
        "name": "private",
        "dataset": "rows",
        "model": {"layers": [{"kind": "linear", "out_features": 2}]},
        "loss": "softmax_cross_entropy",
        "optimizer": {"kind": "sgd", "learning_rate": 0.1},
        "batch_size": 10,
        "steps": 20,
        "workers": 0,
        "threads": 1,
        "validation_fraction": 0.0,
        "privacy": {"delta": 1e-3, "noise_multiplier": 0.7, "clip_norm": 0.5},
        **changes,
    }


@dataclass
class PrivateService:
    """A service's parts, without its process."""

    data_dir: Path
    store: Store
    supervisor: Supervisor
    registry: CollectorRegistry
    app: Any
    http: TestClient

    def push(self, name: str = "rows", seed: int = 0) -> str:
        """A hundred rows of two classes; the digest of the dataset."""
        random = np.random.default_rng(seed)
        inputs = random.normal(size=(100, 3)).astype(np.float32)
        content = npz(inputs=inputs, targets=np.arange(100) % 2)
        answer = self.http.put(f"/v1/datasets/{name}", content=content)
        assert answer.status_code == 201, answer.text
        digest: str = answer.json()["digest"]
        return digest

    def submit(self, **changes: Any) -> Job:
        answer = self.http.post("/v1/jobs", json=spec(**changes))
        assert answer.status_code == 201, answer.text
        return Job.model_validate(answer.json())

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(0.05)

    def ended(self, job_id: str) -> Job:
        """The job, once it has ended and its engine is gone."""
        self.until(lambda: self.store.job(job_id).status in TERMINAL)
        self.supervisor.end_engine(job_id)
        return self.store.job(job_id)

    def keys(self) -> list[str]:
        """The names of all keys."""
        folder = self.data_dir / "keys"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@contextmanager
def private_service(
    store: Store, data_dir: Path, *, started: bool = True, **changes: Any
) -> Iterator[PrivateService]:
    """A service over a store; `changes` are settings."""
    settings = Settings(data_dir=data_dir, engine_stop_timeout_seconds=20, **changes)
    registry = CollectorRegistry()
    metrics = Metrics(
        registry,
        version="0",
        count_jobs=store.count_by_status,
        datasets_privacy=store.datasets_privacy,
    )
    supervisor = Supervisor(settings, store, metrics)
    app = create_app(
        settings,
        store,
        supervisor,
        registry,
        metrics=metrics,
        planner=plan.plan,
        questions=InlineQuestions(),
        exporters={"safetensors": parameters_as_safetensors, "npz": parameters_as_npz},
        private_planner=LinearPlanner(),
    )
    if started:
        supervisor.start()
    with TestClient(app, base_url="http://127.0.0.1") as client:
        try:
            yield PrivateService(data_dir, store, supervisor, registry, app, client)
        finally:
            app.state.services.operations.stop()
            app.state.services.operations.join()
            supervisor.stop()
