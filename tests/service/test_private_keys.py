"""The keys of private jobs: where they are, until when, and where they never are."""

from pathlib import Path

import pytest

from batchgrad.contract import JobStatus
from batchgrad_service.privacy.keys import KeyGoneError, Keys
from batchgrad_service.store import Store
from batchgrad_workers.privacy.keys import KEY_BYTES
from tests.service.private_jobs import private_service

FIXED = "5a" * 32


def test_a_key_is_random_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    keys.keep("one")
    keys.keep("other")
    assert keys.of("one") != keys.of("other")
    assert len(bytes.fromhex(keys.of("one"))) == KEY_BYTES
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "keys/one").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        keys.keep("one")


def test_a_key_that_is_gone_or_cut_is_told(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    keys.keep("one")
    (tmp_path / "keys/one").write_bytes(b"short")
    with pytest.raises(KeyGoneError, match="has 5 bytes, expected 32"):
        keys.of("one")
    keys.destroy("one")
    keys.destroy("one")
    with pytest.raises(KeyGoneError, match="is missing"):
        keys.of("one")


def test_the_keys_of_other_jobs_are_swept(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    assert keys.sweep([]) == 0
    for name in ("one", "two", "three"):
        keys.keep(name)
    assert keys.sweep(["two"]) == 2
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["two"]


def test_a_private_job_is_trained_over_http(store: Store, tmp_path: Path) -> None:
    with private_service(store, tmp_path) as service:
        service.push()
        job = service.submit()
        assert job.privacy is not None
        assert job.privacy.noise_multiplier == 0.7
        ended = service.ended(job.id)
        assert (ended.status, ended.step) == ("succeeded", 20)
        assert ended.privacy is not None
        assert ended.privacy.epsilon_spent == pytest.approx(2.0)
        rows = service.http.get(f"/v1/jobs/{job.id}/steps").json()["data"]
        assert [row["epsilon"] for row in rows] == pytest.approx([0.1 * n for n in range(1, 21)])
        assert service.keys() == []
        dataset = service.http.get("/v1/datasets/rows").json()
        assert dataset["privacy"] == {"jobs": 1, "epsilon": 2.0, "delta": 1e-3, "budget": None}


@pytest.mark.parametrize("status", ["cancelled", "failed", "paused", "deleted"])
def test_a_key_lives_until_its_job_ends(
    store: Store, tmp_path: Path, status: JobStatus | str
) -> None:
    with private_service(store, tmp_path, started=False) as service:
        service.push()
        job = service.submit()
        assert service.keys() == [job.id]
        if status == "paused":
            service.supervisor.pause(job.id)
            assert service.keys() == [job.id]
        if status in {"cancelled", "deleted"}:
            service.supervisor.cancel(job.id)
            assert service.keys() == []
        if status == "deleted":
            service.app.state.services.private.keys.keep(job.id)  # as after a crash
            assert service.http.delete(f"/v1/jobs/{job.id}").status_code == 204
            assert service.keys() == []
        if status == "failed":
            (tmp_path / "keys" / job.id).write_bytes(b"")
            service.supervisor.start()
            ended = service.ended(job.id)
            assert (ended.status, ended.reason) == ("failed", "key_gone")
            assert "submit a job that starts from this one's parameters" in (ended.detail or "")
            assert ended.attempts == 1
            assert service.keys() == []


def test_a_fixed_key_is_called_unsafe_and_is_written_nowhere_else(
    store: Store, tmp_path: Path
) -> None:
    with private_service(store, tmp_path, unsafe_privacy_key=FIXED) as service:
        service.push()
        job = service.submit(steps=5)
        assert job.privacy is not None
        assert (job.privacy.epsilon, job.privacy.epsilon_spent) == (None, None)
        assert job.privacy.unsafe
        assert any("unsafe_privacy_key" in warning for warning in job.warnings)
        ended = service.ended(job.id)
        assert ended.status == "succeeded"
        assert ended.privacy is not None
        assert ended.privacy.epsilon_spent is None
        other = service.ended(service.submit(steps=5).id)
        assert other.last_parameters_digest == ended.last_parameters_digest
    secret = (bytes.fromhex(FIXED), FIXED.encode())
    for path in tmp_path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(each in content for each in secret), path
