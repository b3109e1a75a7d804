import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient

from batchgrad.contract import TERMINAL, Job, ResumeRequest
from batchgrad_engine.checkpoints.exports import parameters_as_npz, parameters_as_safetensors
from batchgrad_service import access_token
from batchgrad_service.app import create_app
from batchgrad_service.datasets.datasets import Datasets
from batchgrad_service.metrics.registry import Metrics
from batchgrad_service.problems import ConflictError
from batchgrad_service.settings import Settings
from batchgrad_service.shutdown import Shutdown
from batchgrad_service.store import Store
from batchgrad_service.validation import plan
from tests.service.inline_questions import InlineQuestions
from tests.service.uploads import Put


@pytest.fixture
def store(migrated: Path, tmp_path: Path) -> Iterator[Store]:
    shutil.copy(migrated, tmp_path)
    opened = Store(f"sqlite:///{tmp_path / migrated.name}")
    yield opened
    opened.close()


@pytest.fixture
def datasets(tmp_path: Path, store: Store) -> Datasets:
    return Datasets(tmp_path, store, max_bytes=3_000_000)


@pytest.fixture
def put(datasets: Datasets) -> Put:
    def put(content: bytes, name: str = "d", *, replace: bool = False) -> Any:
        with datasets.upload() as path:
            path.write_bytes(content)
            return datasets.put(name, path, replace=replace)

    return put


@dataclass
class FakeSupervisor:
    """A supervisor that changes the store like the real one and starts no engine."""

    store: Store
    notified: int = 0
    is_ready: bool = True
    commands: list[tuple[str, str]] = field(default_factory=list)
    ledgers: dict[str, Path] = field(default_factory=dict)
    lengthened: list[tuple[str, ResumeRequest, str | None, str]] = field(default_factory=list)

    def notify(self) -> None:
        self.notified += 1

    def cancel(self, job_id: str) -> Job:
        return self._move("cancel", job_id)

    def pause(self, job_id: str) -> Job:
        return self._move("pause", job_id)

    def resume(self, job_id: str) -> Job:
        return self._move("resume", job_id)

    def lengthen(
        self, job_id: str, more: ResumeRequest, idempotency_key: str | None, body_digest: str
    ) -> Job:
        self.lengthened.append((job_id, more, idempotency_key, body_digest))
        return self.store.job(job_id)

    def end_engine(self, job_id: str) -> None:
        self.commands.append(("end engine", job_id))

    def ledger(self, job_id: str, seconds: float) -> Path | None:  # noqa: ARG002
        return self.ledgers.get(job_id)

    def ready(self) -> bool:
        return self.is_ready

    def _move(self, action: str, job_id: str) -> Job:
        self.commands.append((action, job_id))
        job = self.store.job(job_id)
        if job.status in TERMINAL:
            raise ConflictError(f"Job {job_id} is {job.status}.", code="job_finished")
        if action == "cancel":
            self.store.transition(job_id, to="cancelling")
            self.store.transition(job_id, to="cancelled")
        return self.store.job(job_id)


@dataclass
class Bench:
    """An application with a fake supervisor, and a client of it."""

    data_dir: Path
    store: Store
    supervisor: FakeSupervisor
    registry: CollectorRegistry
    metrics: Metrics
    shutdown: Shutdown
    app: Any
    http: TestClient


@pytest.fixture
def make_bench(tmp_path: Path, store: Store) -> Iterator[Callable[..., Bench]]:
    """Make a Bench; arguments are settings, or arguments of `create_app` such as `planner`."""
    benches: list[Bench] = []

    def make(**changes: Any) -> Bench:
        injected: dict[str, Any] = {
            "planner": plan.plan,
            "questions": InlineQuestions(),
            "exporters": {"safetensors": parameters_as_safetensors, "npz": parameters_as_npz},
            "keep_alive_seconds": 15.0,
            "disk": None,
            "preflight": None,
            "guide": tmp_path / "no guide",
        }
        injected |= {name: changes.pop(name) for name in tuple(changes) if name in injected}
        settings = Settings(data_dir=tmp_path, **changes)
        token = access_token.read(settings.token_file) if settings.token_file else None
        registry = CollectorRegistry()
        metrics = Metrics(registry, version="0", count_jobs=store.count_by_status)
        supervisor, shutdown = FakeSupervisor(store), Shutdown()
        app = create_app(
            settings,
            store,
            supervisor,
            registry,
            metrics=metrics,
            token=token,
            shutdown=shutdown,
            **injected,
        )
        client = TestClient(app, base_url="http://127.0.0.1")
        made = Bench(tmp_path, store, supervisor, registry, metrics, shutdown, app, client)
        benches.append(made)
        return made

    yield make
    for bench in benches:
        bench.http.close()
        bench.app.state.services.operations.stop()
        bench.app.state.services.operations.join()


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench()


@pytest.fixture
def http(bench: Bench) -> TestClient:
    return bench.http
