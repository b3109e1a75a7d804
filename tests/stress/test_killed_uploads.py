"""SIGKILL of the service while a file is sent or read: the next run goes on and nothing is left."""

import random
import signal
from pathlib import Path

import numpy as np
import pytest

from batchgrad import errors
from batchgrad.http import uploads
from tests.stress.services import client_of, service, serving
from tests.stress.test_kills import SEED, killed_service

FILE_BYTES = 40 * 2**20
STAGES = ("send", "send", "send", "read", "read")


def test_an_upload_outlives_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = random.Random(SEED)
    monkeypatch.setattr(uploads, "PIECE_BYTES", 2**20)
    file, data_dir = tmp_path / "large.npz", tmp_path / "data"
    np.savez(file, inputs=np.ones((FILE_BYTES // 40, 10), np.float32), targets=np.arange(2**20))
    sent: list[int] = []
    for stage in STAGES:
        after = drawn.randrange(1, 12)
        with killed_service(data_dir) as process, client_of(process) as client:
            calls = 0

            def kill(now: str, done: int, _total: int | None, stage: str = stage) -> None:
                nonlocal calls
                if now == "send":
                    sent.append(done)
                calls += now == stage
                if calls == (after if stage == "send" else 1):  # noqa: B023 (called in this turn)
                    process.send_signal(signal.SIGKILL)

            with pytest.raises(errors.BatchgradError):
                client.put_dataset("large", file, on_progress=kill)
    assert sorted(sent) == sent, f"it went back; TEST_BATCHGRAD_SEED={SEED}"
    with serving(data_dir, tmp_path / "log", BATCHGRAD_LOG_LEVEL="debug") as client:
        stored = client.put_dataset("large", file)
        assert stored.examples == 2**20
    with service(data_dir, tmp_path / "log") as process, client_of(process):
        pass
    assert [path.suffix for path in (data_dir / "uploads").iterdir()] == [""]
    assert len(list((data_dir / "datasets").iterdir())) == 1
