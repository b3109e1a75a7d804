"""Another process holds SQLite's lock for a while, as a backup or an open transaction does."""

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import httpx2

from batchgrad.user_machine.demo import digits
from tests.end_to_end.digits_job import spec
from tests.stress.services import PATIENCE_SECONDS, serving, until_job

LOCKED_SECONDS = 12


def test_requests_fail_quickly_and_no_row_is_lost(tmp_path: Path) -> None:
    data, log = tmp_path / "data", tmp_path / "log"
    with serving(data, log) as client:
        client.put_arrays("digits", *digits())
        job = client.submit(spec(workers=0, threads=1, epochs=None, steps=2000))
        until_job(client, job.id, lambda job: job.step >= 5)
        lock = data / "jobs" / job.id / "engine.lock"
        engine = json.loads(lock.read_text())["pid"]
        with closing(sqlite3.connect(data / "batchgrad.sqlite3", timeout=60)) as other:
            other.isolation_level = None
            other.execute("BEGIN IMMEDIATE")
            began = time.monotonic()
            answer = httpx2.post(
                f"{client.url}/v1/jobs", json=spec(workers=0, threads=1), timeout=LOCKED_SECONDS
            )
            assert time.monotonic() - began < 10
            assert answer.status_code == 503
            assert answer.json()["code"] == "database_busy"
            assert int(answer.headers["Retry-After"]) > 0
            assert client.job(job.id).status == "running"  # readers need no lock
            time.sleep(max(0.0, LOCKED_SECONDS - (time.monotonic() - began)))
            other.execute("ROLLBACK")
        done = client.wait(job.id, timeout=PATIENCE_SECONDS)
        assert done.attempts == 1
        assert json.loads(lock.read_text())["pid"] == engine
        assert done.step == 2000
    assert "Traceback" not in log.read_text()
