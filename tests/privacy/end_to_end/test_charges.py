"""A private job's charges: a killed engine spends nothing twice, lost ones count with all."""

import os
import signal
from pathlib import Path

import pytest

from batchgrad_engine.privacy.charges import FILE, charged
from batchgrad_service.store import Store
from tests.service.private_jobs import private_service
from tests.supervisor.test_private_engines import engine, store, until_step

__all__ = ["store"]

KEY = "a7" * 32
MANY = 3000
"""Steps of a job that is killed on its way."""


def test_a_killed_engine_spends_nothing_twice(store: Store, tmp_path: Path) -> None:
    with private_service(store, tmp_path, unsafe_privacy_key=KEY) as service:
        service.push()
        whole = service.ended(service.submit(steps=MANY).id)
        job = service.submit(steps=MANY, checkpoint_interval_seconds=0.1)
        service.until(lambda: bool(store.checkpoints(job.id)))
        os.kill(engine(service, job), signal.SIGKILL)
        ended = service.ended(job.id)
        assert (ended.status, ended.attempts) == ("succeeded", 2)
        assert ended.last_parameters_digest == whole.last_parameters_digest
        assert charged(tmp_path / "jobs" / job.id) == MANY
        spent = store.dataset("rows").privacy
        assert spent is not None
        assert spent.epsilon == pytest.approx(2 * 0.1 * MANY)
        assert service.keys() == []


@pytest.mark.parametrize("content", [None, "\0\n"])
def test_a_job_without_its_charges_counts_with_all_it_could_have_spent(
    store: Store, tmp_path: Path, content: str | None
) -> None:
    with private_service(store, tmp_path) as service:
        service.push()
        job = service.submit(steps=10**6)
        until_step(service, job, 1)
        service.supervisor.pause(job.id)
        service.until(lambda: store.job(job.id).status == "paused")
        charges = tmp_path / "jobs" / job.id / FILE
        charges.unlink()
        if content is not None:
            charges.write_text(content)
        service.supervisor.resume(job.id)
        ended = service.ended(job.id)
        assert (ended.status, ended.reason) == ("failed", "charges_lost")
        spent = store.dataset("rows").privacy
        assert spent is not None
        assert spent.epsilon == pytest.approx(0.1 * 2 * 10**6)
