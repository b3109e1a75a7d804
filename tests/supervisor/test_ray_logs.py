"""Which of Ray's logs are removed."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from batchgrad_service.ray_head.logs import prune

DEAD, ALIVE = 12, 345
REMOVED = [
    f"worker-9a0f-02000000-{DEAD}.out",
    f"worker-9a0f-02000000-{DEAD}.err",
    f"worker-9a0f-02000000-{DEAD}.out.1",
    f"python-core-worker-9a0f_{DEAD}.log",
    f"python-core-driver-02ff_{DEAD}.log",
    f"events/event_CORE_WORKER_{DEAD}.log",
    f"export_events/event_EXPORT_TASK_{DEAD}.log",
]
KEPT = [
    f"worker-9a0f-02000000-{ALIVE}.out",
    f"python-core-worker-9a0f_{ALIVE}.log",
    "gcs_server.out",
    "gcs_server.out.1",
    "raylet.err",
    "events/event_GCS.log",
    "debug_state.txt",
]


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    made = tmp_path / "session_2026-01-02/logs"
    for name in (*REMOVED, *KEPT):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).touch()
    (tmp_path / "session_latest").symlink_to("session_2026-01-02")
    return made


def names(logs: Path) -> set[str]:
    return {str(file.relative_to(logs)) for file in logs.rglob("*") if file.is_file()}


def aged(logs: Path, seconds: float) -> None:
    then = time.time() - seconds
    for name in names(logs):
        os.utime(logs / name, (then, then))


def test_old_logs_of_processes_that_are_gone_are_removed(tmp_path: Path, logs: Path) -> None:
    aged(logs, 20)
    prune(tmp_path, keep_seconds=10, is_alive=lambda pid: pid == ALIVE)
    assert names(logs) == set(KEPT)


def test_logs_of_a_process_that_died_lately_are_kept(tmp_path: Path, logs: Path) -> None:
    aged(logs, 5)
    prune(tmp_path, keep_seconds=10, is_alive=lambda pid: pid == ALIVE)
    assert names(logs) == {*REMOVED, *KEPT}


def test_the_command_that_containers_run(tmp_path: Path, logs: Path) -> None:
    own, gone = (f"worker-9a0f-02000000-{pid}.out" for pid in (os.getpid(), 2**22 + 1))
    (logs / own).touch()
    (logs / gone).touch()  # no process has so high a number
    aged(logs, 7200)
    command = [sys.executable, "-m", "batchgrad_service.ray_head.logs", str(tmp_path)]
    subprocess.run(command, check=True, timeout=60)
    assert own in names(logs)
    assert gone not in names(logs)
