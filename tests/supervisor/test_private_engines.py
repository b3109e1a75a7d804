"""Engines of private jobs: keys come by stdin alone, another build is charged again."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchgrad.contract import Job
from batchgrad_engine.privacy.charges import Charges
from batchgrad_service.jobs.failures import Failure
from batchgrad_service.store import Store
from tests.service.private_jobs import PrivateService, private_service
from tests.service.private_jobs import spec as private_spec


@pytest.fixture
def store(migrated: Path, tmp_path: Path) -> Iterator[Store]:
    file = tmp_path / migrated.name
    file.write_bytes(migrated.read_bytes())
    opened = Store(f"sqlite:///{file}")
    yield opened
    opened.close()


def engine(service: PrivateService, job: Job) -> int:
    """The pid of the job's engine."""
    lock = service.data_dir / "jobs" / job.id / "engine.lock"
    pid: int = json.loads(lock.read_text())["pid"]
    return pid


def until_step(service: PrivateService, job: Job, step: int) -> None:
    service.until(lambda: service.store.job(job.id).step >= step)


def test_a_key_reaches_its_engine_by_stdin_alone(store: Store, tmp_path: Path) -> None:
    with private_service(store, tmp_path) as service:
        service.push()
        job = service.submit(steps=10**6)
        key = (tmp_path / "keys" / job.id).read_bytes()
        until_step(service, job, 1)
        process = Path("/proc") / str(engine(service, job))
        for name in ("environ", "cmdline"):
            content = (process / name).read_bytes()
            assert key not in content
            assert key.hex().encode() not in content
        service.supervisor.cancel(job.id)
        ended = service.ended(job.id)
        assert ended.status == "cancelled"
        assert service.keys() == []
        privacy, spent = ended.privacy, store.dataset("rows").privacy
        assert privacy is not None
        assert privacy.epsilon_spent is not None
        assert spent is not None
        assert 0 < privacy.epsilon_spent < 0.1 * 10**6
        assert spent.epsilon == privacy.epsilon_spent
        for path in tmp_path.rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                assert key not in content, path
                assert key.hex().encode() not in content, path


def test_downloads_tell_no_digest_of_the_rows(store: Store, tmp_path: Path) -> None:
    """Who knows all rows but one could try which row has the digest."""
    with private_service(store, tmp_path) as service:
        digest = service.push()
        job = service.ended(service.submit(steps=2).id)
        for form in ("safetensors", "npz"):
            answer = service.http.get(f"/v1/jobs/{job.id}/parameters?format={form}")
            assert answer.status_code == 200, answer.text
            assert b"private" in answer.content  # the job's name in its card
            assert digest.removeprefix("sha256:").encode() not in answer.content


@pytest.mark.parametrize("budget", [None, 500.0])
def test_steps_of_another_build_are_charged_again(
    store: Store, tmp_path: Path, budget: float | None
) -> None:
    steps = 40
    with private_service(store, tmp_path, started=False) as service:
        service.push()
        if budget is not None:
            service.store.set_privacy_budget("rows", budget)
        job = service.submit(steps=steps)
        folder = tmp_path / "jobs" / job.id
        folder.mkdir(parents=True)
        earlier = Charges(folder, {"numpy": "0"}, steps)
        for step in range(10):
            earlier.add(step)
        earlier.end(10)
        service.supervisor.start()
        ended = service.ended(job.id)
        privacy, spent = ended.privacy, store.dataset("rows").privacy
        assert privacy is not None
        assert spent is not None
        if budget is None:  # its own noise multiplier is its only limit
            assert ended.status == "succeeded"
            assert privacy.epsilon_spent == pytest.approx(0.1 * (steps + 10))
            assert spent.epsilon == pytest.approx(0.1 * (steps + 10))
        else:
            assert (ended.status, ended.reason) == ("failed", "budget_spent")
            assert ended.step == steps - 10
            assert "charged again" in (ended.detail or "")
            assert spent.epsilon == pytest.approx(0.1 * steps)
        assert service.keys() == []


def test_a_job_with_its_own_epsilon_stops_there(store: Store, tmp_path: Path) -> None:
    with private_service(store, tmp_path, started=False) as service:
        service.push()
        privacy = {**private_spec()["privacy"], "epsilon": 2.0}
        job = service.submit(steps=20, privacy=privacy)
        folder = tmp_path / "jobs" / job.id
        folder.mkdir(parents=True)
        Charges(folder, {"numpy": "0"}, 20).add(0)  # killed: 20 steps are charged ahead
        service.supervisor.start()
        ended = service.ended(job.id)
        assert (ended.status, ended.reason, ended.step) == ("failed", "budget_spent", 0)
        assert ended.privacy.epsilon_spent == 2.0  # type: ignore[union-attr]


@pytest.mark.parametrize("private", [True, False])
def test_no_event_has_the_log_of_a_private_engine(
    store: Store, tmp_path: Path, private: bool
) -> None:
    with private_service(store, tmp_path, started=False) as service:
        service.push()
        job = service.submit() if private else service.submit(privacy=None)
        attempt = store.begin_attempt(job.id)
        assert attempt is not None
        failure = Failure("engine_died", "It died.", ["IndexError: 17 is out of bounds"])
        service.supervisor._lifecycle.failed(job.id, attempt, failure)
        newest = store.newest_events(job.id, 1)[0][0]
        assert newest.data["detail"] == "It died."
        assert newest.data["log"] == ([] if private else failure.log)
