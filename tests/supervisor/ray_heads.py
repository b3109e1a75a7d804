"""The processes and files of a private Ray cluster."""

import json
import time
from pathlib import Path

from batchgrad_workers.system.processes import session_members, wait_for_session
from tests.supervisor.conftest import PATIENCE_SECONDS

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  (only listed)


def record(data_dir: Path) -> tuple[int, Path]:
    kept = json.loads((data_dir / "keeper.json").read_text())
    return kept["session"], Path(kept["temp_dir"])


def assert_nothing_left(session: int, temp_dir: Path, shared_memory: set[Path]) -> None:
    assert wait_for_session(session, PATIENCE_SECONDS), f"still there: {session_members(session)}"
    deadline = time.monotonic() + PATIENCE_SECONDS
    while temp_dir.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not temp_dir.exists()
    assert set(SHARED_MEMORY.iterdir()) <= shared_memory
