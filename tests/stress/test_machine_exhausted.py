"""The service runs out of file descriptors for a while; no job fails."""

import json
import os
import resource
import signal
import time
from pathlib import Path

from batchgrad.client import Client
from batchgrad.contract import Job
from batchgrad.user_machine import demo
from batchgrad.user_machine.private_service import private_service

PATIENCE_SECONDS = 90.0


def children() -> set[int]:
    tasks = Path("/proc/self/task").glob("*/children")
    return {int(pid) for task in tasks for pid in task.read_text().split()}


def reasons(client: Client, job: Job) -> list[str | None]:
    """Reasons of the job's states."""
    events = client.events(job.id, progress=True)
    return [event.data.get("reason") for event in events if event.type == "state"]


def test_jobs_wait_for_file_descriptors(tmp_path: Path) -> None:
    """Engines are killed while no engine can be started; each job may be restarted once."""
    before = children()
    with private_service(folder=tmp_path) as client:
        client.put_arrays("digits", *demo.digits())
        [service], [data] = children() - before, tmp_path.iterdir()
        spec = {**demo.spec(0, 1, 100_000), "max_restarts": 1, "checkpoint_interval_seconds": 1000}
        jobs = [client.submit(spec) for _ in range(2)]

        def until(what: str) -> None:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not all(what in [job.status, *reasons(client, job)] for job in map(fresh, jobs)):
                assert time.monotonic() < deadline, [reasons(client, job) for job in jobs]
                time.sleep(0.1)

        def fresh(job: Job) -> Job:
            return client.job(job.id)

        until("running")
        usual = resource.prlimit(service, resource.RLIMIT_NOFILE)
        open_files = sum(1 for _ in Path(f"/proc/{service}/fd").iterdir())
        resource.prlimit(service, resource.RLIMIT_NOFILE, (open_files, usual[1]))
        try:
            for job in jobs:
                lock = data / "jobs" / job.id / "engine.lock"
                os.kill(json.loads(lock.read_text())["pid"], signal.SIGKILL)
            until("machine_exhausted")
        finally:
            resource.prlimit(service, resource.RLIMIT_NOFILE, usual)
        until("running")
        assert all(reasons(client, job).count("machine_exhausted") >= 1 for job in jobs)
        for job in jobs:
            client.cancel(job.id)
