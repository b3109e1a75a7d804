"""batchgrad as a contestant, run as users run it: a private service and one job for each burst.

A job starts, warms up, runs, and is cancelled. Its step rows have the end time of each step. Only
steps after the warm-up are counted, so the start of processes and of Ray is excluded.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from batchgrad import Client
from batchgrad.contract import TERMINAL, Job, StepRow
from batchgrad.user_machine.private_service import private_service
from benchmarks.contestants import Ours
from benchmarks.memory import peak_bytes, peak_bytes_below
from benchmarks.peers import ContestantFailed
from benchmarks.results import Burst
from benchmarks.workloads import Workload, data

START_SECONDS = 60.0
END_SECONDS = 60.0
POINTS = 4000
"""Most step rows to fetch for a burst, evenly spaced: tiny jobs do thousands of steps a second."""


class Service:
    """A private service and the datasets of the workloads."""

    def __init__(self, client: Client, directory: Path) -> None:
        self.client = client
        self._directory = directory
        self._pushed: set[str] = set()

    def dataset(self, workload: Workload) -> str:
        """Upload the workload's dataset if it is new; return its name."""
        name = "x".join(map(str, workload.input_shape))
        return self.push(
            name, lambda: dict(zip(("inputs", "targets"), data(workload), strict=True))
        )

    def push(self, name: str, arrays: Callable[[], Mapping[str, Any]]) -> str:
        """Upload a dataset of `arrays` if it is new; return its name."""
        if name not in self._pushed:
            self.client.put_dataset(name, dict(arrays()))
            self._pushed.add(name)
        return name

    def peak_bytes(self, job: Job) -> int:
        """Peak memory of the job's engine and of its Ray workers, if any."""
        locks = list(self._directory.glob(f"*/jobs/{job.id}/engine.lock"))
        if not locks:
            return 0
        engine = peak_bytes(int(json.loads(locks[0].read_text())["pid"]))
        if job.executor != "ray":
            return engine
        return engine + peak_bytes_below(os.getpid(), lambda line: line.startswith("ray::Gradient"))


@contextmanager
def service() -> Iterator[Service]:
    """A private service, deleted with its data when the block ends."""
    with (
        tempfile.TemporaryDirectory(prefix="batchgrad-bench-") as folder,
        private_service(folder=Path(folder)) as client,
    ):
        yield Service(client, Path(folder))


class Jobs:
    """A contestant that runs the same job once for each burst."""

    def __init__(self, ours: Ours, spec: Mapping[str, Any], service: Service) -> None:
        self._ours = ours
        self._service = service
        self._spec = dict(spec)
        self._peak = 0
        self.placement = ""

    def prepare(self) -> dict[str, str]:
        """The version of the service, which is already running."""
        return {"batchgrad": self._service.client.version().version}

    def burst(self, seconds: float) -> Burst:
        """Run a job until it has done steps for `seconds` after its warm-up."""
        client = self._service.client
        job = client.submit(self._spec)
        try:
            since = self._chosen(job.id) if self._ours.chooses else self._first_step(job.id)
            time.sleep(self._ours.warm_seconds + seconds)
            job = client.job(job.id)
            self._peak = max(self._peak, self._service.peak_bytes(job))
            self.placement = placement(job)
        finally:
            self._end(job.id)
        rows = list(client.steps(job.id, max_points=POINTS))
        client.delete(job.id)
        return steady(rows, since + timedelta(seconds=self._ours.warm_seconds))

    def peak_bytes(self) -> int:
        """Peak memory of the engine and its workers."""
        return self._peak

    def close(self) -> None:
        """Do nothing: each burst deletes its job."""

    def _first_step(self, job_id: str) -> datetime:
        """Wait for the first step; return its end time."""
        return self._await(job_id, "first step", self._first_row)

    def _chosen(self, job_id: str) -> datetime:
        """Wait for the `executor` event; return its time."""
        return self._await(job_id, "choice of an executor", self._choice)

    def _await(self, job_id: str, what: str, look: Callable[[str], datetime | None]) -> datetime:
        deadline = time.monotonic() + START_SECONDS
        while (found := look(job_id)) is None:
            job = self._service.client.job(job_id)
            if job.status in TERMINAL or time.monotonic() > deadline:
                raise ContestantFailed(
                    f"{self._ours.name}: job {job.status} before its {what} "
                    f"({job.reason}: {job.detail})."
                )
            time.sleep(0.1)
        return found

    def _first_row(self, job_id: str) -> datetime | None:
        return next((row.time for row in self._service.client.steps(job_id, max_points=2)), None)

    def _choice(self, job_id: str) -> datetime | None:
        events = self._service.client.events(job_id, progress=True)
        chosen = (e.time for e in events if e.type == "executor")
        return next(chosen, None)

    def _end(self, job_id: str) -> None:
        """Cancel the job and wait for its end: contestants must not run at the same time."""
        client = self._service.client
        job = client.job(job_id)
        if job.status in TERMINAL:
            raise ContestantFailed(f"{self._ours.name}: job {job.status} ({job.detail}).")
        client.cancel(job_id)
        deadline = time.monotonic() + END_SECONDS
        while client.job(job_id).status not in TERMINAL:
            if time.monotonic() > deadline:
                raise ContestantFailed(f"{self._ours.name}: the job does not end.")
            time.sleep(0.1)


def placement(job: Job) -> str:
    """Description of a job's executor, workers and threads."""
    threads = f"{job.threads} thread{'s' if job.threads != 1 else ''}"
    return f"inline, {threads}" if job.executor == "inline" else f"Ray, {job.workers} × {threads}"


def steady(rows: list[StepRow], start: datetime) -> Burst:
    """Steps and seconds between the first row after `start` and the last row of all."""
    counted = [row for row in rows if row.time >= start]
    if len(counted) < 2 or counted[-1].time <= counted[0].time:
        raise ContestantFailed(
            f"{len(counted)} of {len(rows)} step rows lie after the warm-up: let it run for "
            "longer (--seconds)."
        )
    first, last = counted[0], counted[-1]
    timed = counted[1:]  # the clock starts at the first row, so its own step is not counted
    names = sorted({name for row in timed for name in row.phases})
    phases = {name: sum(row.phases.get(name, 0.0) for row in timed) / len(timed) for name in names}
    return Burst(last.step - first.step, (last.time - first.time).total_seconds(), phases)
