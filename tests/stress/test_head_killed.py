"""The head of the private Ray cluster is killed while workers start; the job continues."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from batchgrad.user_machine import demo
from batchgrad.user_machine.private_service import private_service
from batchgrad_workers.system.processes import session_members

PATIENCE_SECONDS = 120.0


@pytest.mark.ray
def test_jobs_survive_the_head(tmp_path: Path) -> None:
    """Each job gets a new cluster, whether or not its engine had joined the old one."""
    with private_service(folder=tmp_path) as client:
        client.put_arrays("digits", *demo.digits())
        [data] = tmp_path.iterdir()
        digests = set()
        for seconds in (0.2, 1.5, 3.0):
            job = client.submit(demo.spec(2, None, 2))
            lock = data / "jobs" / job.id / "engine.lock"
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not lock.exists():
                assert time.monotonic() < deadline
                time.sleep(0.02)
            time.sleep(seconds)
            session = json.loads((data / "keeper.json").read_text())["session"]
            for pid in session_members(session, named="gcs_server"):
                os.kill(pid, signal.SIGKILL)
            done = client.wait(job.id, timeout=PATIENCE_SECONDS)
            assert done.attempts <= 3, done
            digests.add(done.parameters_digest)
        assert len(digests) == 1
