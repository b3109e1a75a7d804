"""The service has no open files left for a while: no job fails of it."""

import os
import resource
import threading
from pathlib import Path

from batchgrad import demo
from batchgrad.private_service import private_service

AWAY_SECONDS = 8.0
PATIENCE_SECONDS = 120.0


def children() -> set[int]:
    tasks = Path("/proc/self/task").glob("*/children")
    return {int(pid) for task in tasks for pid in task.read_text().split()}


def test_jobs_wait_for_open_files(tmp_path: Path) -> None:
    before = children()
    with private_service(folder=tmp_path) as client:
        client.put_arrays("digits", *demo.digits())
        [service] = children() - before
        usual = resource.prlimit(service, resource.RLIMIT_NOFILE)
        few = len(os.listdir(f"/proc/{service}/fd")) + 2  # for connections and the database
        resource.prlimit(service, resource.RLIMIT_NOFILE, (few, usual[1]))
        back = threading.Timer(
            AWAY_SECONDS, resource.prlimit, (service, resource.RLIMIT_NOFILE, usual)
        )
        back.start()
        try:
            spec = {**demo.spec(0, 1, 2), "max_restarts": 0}
            jobs = [client.submit(spec, idempotency_key=f"job-{n}").id for n in range(4)]
            done = [client.wait(job_id, timeout=PATIENCE_SECONDS) for job_id in jobs]
        finally:
            back.join()
        assert [job.status for job in done] == ["succeeded"] * 4
        assert len({job.parameters_digest for job in done}) == 1
        reasons = {
            event.data.get("reason")
            for job_id in jobs
            for event in client.events(job_id, follow=False)
            if event.type == "state"
        }
        assert "machine_exhausted" in reasons
