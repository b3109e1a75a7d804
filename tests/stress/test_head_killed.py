"""The head of the private Ray cluster is killed; nothing is left, and jobs continue on another."""

import json
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from batchgrad.user_machine import demo
from batchgrad.user_machine.private_service import private_service
from batchgrad_service.ray_head.cluster import RayCluster
from batchgrad_workers.system.processes import session_members
from tests.supervisor.ray_heads import SHARED_MEMORY, assert_nothing_left, record

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


def wait_until_refused(address: str) -> None:
    """A killed process has closed its ports when its last thread has ended, a moment later."""
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            socket.create_connection((host, int(port)), 1.0).close()
        except OSError:
            return
        time.sleep(0.005)
    raise AssertionError(f"{address} is still open")


@pytest.mark.ray
def test_a_killed_head_leaves_nothing_and_the_next_job_gets_a_new_cluster(
    tmp_path: Path,
) -> None:
    """Start one head after another; kill a different process of each."""
    shared_memory = set(SHARED_MEMORY.iterdir())
    cluster = RayCluster(tmp_path)
    try:
        first = cluster.address(1)
        for victim in ("head", "gcs_server", "raylet"):
            session, temp_dir = record(tmp_path)
            [pid] = [session] if victim == "head" else session_members(session, named=victim)
            os.kill(pid, signal.SIGKILL)
            if victim == "gcs_server":  # the next job need not wait for the rest
                wait_until_refused(first.address)
            else:
                assert_nothing_left(session, temp_dir, shared_memory)
            second = cluster.address(1)
            assert second.address != first.address, victim
            assert not session_members(session), victim
            assert not temp_dir.exists(), victim
            first = second
        session, temp_dir = record(tmp_path)
    finally:
        cluster.stop()
    assert_nothing_left(session, temp_dir, shared_memory)
