"""A service that ends, by any signal, leaves nothing behind; the next one continues its jobs."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from batchgrad.client import Client
from batchgrad.user_machine.demo import digits
from batchgrad_engine.checkpoints.checkpoints import read
from tests.end_to_end.digits_job import (
    ENDLESS,
    PATIENCE_SECONDS,
    events_of,
    spec,
    undisturbed,
    wait_for_more_steps,
)

pytestmark = pytest.mark.ray


@contextmanager
def service(data_dir: Path) -> Iterator[tuple[subprocess.Popen[str], Client]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "batchgrad", "serve", "--port", "0", "--data-dir", str(data_dir)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        with Client(url) as client:
            yield process, client
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def descendants(pid: int) -> set[int]:
    """Pids of the direct and indirect child processes of `pid`."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents[int(stat.parent.name)] = int(fields[1])
    found: set[int] = set()
    new = {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return found


def alive(pids: set[int]) -> set[int]:
    """The pids that still run, without zombies."""
    found = set()
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state not in "ZX":
            found.add(pid)
    return found


def traces(pids: set[int], data_dir: Path) -> set[Path]:
    """Files of these processes outside the data directory: Ray's folder and shared memory."""
    found = {Path(json.loads((data_dir / "keeper.json").read_text())["temp_dir"])}
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(FileNotFoundError):
                    found.add(descriptor.readlink())
    return {path for path in found if path.is_relative_to("/dev/shm") or path.is_dir()}  # noqa: S108


def test_an_ended_service_leaves_nothing_and_the_next_continues_its_job(
    client: Client, tmp_path: Path
) -> None:
    """One job runs in three services in turn.

    SIGTERM goes to all processes, as systemd sends it, and loses no step either.
    """
    job_id = ""
    for attempt, sent in enumerate((signal.SIGTERM, signal.SIGKILL, signal.SIGINT), 1):
        with service(tmp_path) as (process, mine):
            if not job_id:
                mine.put_arrays("digits", *digits())
                job_id = mine.submit(spec(workers=2, **ENDLESS)).id
            wait_for_more_steps(mine, job_id)
            states = [event.data["status"] for event in events_of(mine, job_id, "state")]
            assert states.count("recovering") == attempt - 1
            started = descendants(process.pid)
            assert len(started) > 5  # the head, Ray's own processes, engine, workers
            kept = {path for path in traces(started, tmp_path) if not tmp_path.is_relative_to(path)}
            assert kept
            job = mine.job(job_id)
            assert job.attempts == attempt
            for pid in started if sent == signal.SIGTERM else ():
                os.kill(pid, sent)
            os.kill(process.pid, sent)
            status = process.wait(timeout=PATIENCE_SECONDS)
            deadline = time.monotonic() + PATIENCE_SECONDS
            while (left := alive(started)) and time.monotonic() < deadline:
                time.sleep(0.05)
            assert not left, sent
            assert not {path for path in kept if path.exists()}, sent
            last = read(max((tmp_path / "jobs" / job_id).glob("step-*.safetensors")))
            assert last.step >= job.step, sent
            if sent != signal.SIGKILL:
                assert (status, (tmp_path / "keeper.json").exists()) == (0, False), sent
    assert last.parameters_digest == undisturbed(client, last.step)
