"""A disk of 60 MB that fills up while a job trains and is freed later."""

import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from batchgrad.client import Client
from batchgrad.errors import BatchgradError
from batchgrad.user_machine.demo import digits
from tests.stress.services import PATIENCE_SECONDS, serving, until_job

MIB = 2**20
DISK = 60 * MIB
SPEC: dict[str, Any] = {
    "name": "fills-the-disk",
    "dataset": "digits",
    "model": {
        "layers": [
            {"kind": "linear", "out_features": 4000},
            {"kind": "relu"},
            {"kind": "linear", "out_features": 10},
        ]
    },
    "loss": "softmax_cross_entropy",
    "optimizer": {"kind": "adam", "learning_rate": 0.001},
    "precision": "float64",
    "batch_size": 50,
    "steps": 800,
    "threads": 1,
    "checkpoint_interval_seconds": 0.2,
    "max_restarts": 0,
}
"""300,010 parameters: a checkpoint has 7 MB, and up to four exist at a time."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the same job on a disk with enough room."""
    folder = tmp_path_factory.mktemp("room")
    with serving(folder / "data", folder / "log") as client:
        client.put_arrays("digits", *digits())
        job = client.wait(client.submit(SPEC).id, timeout=PATIENCE_SECONDS)
    assert job.last_parameters_digest is not None
    return job.last_parameters_digest


def ballast(folder: Path, leave_bytes: int) -> None:
    """Write a file that leaves `leave_bytes` free."""
    with (folder / "ballast").open("wb") as file:
        written = DISK - leave_bytes
        try:
            for _ in range(written // MIB):
                file.write(bytes(MIB))
        except OSError:
            assert leave_bytes == 0  # the disk had less free space


def many_files(folder: Path) -> None:
    """Use up all inodes."""
    try:
        for number in count():
            (folder / f"ballast{number}").touch()
    except OSError:
        return


CASES: dict[str, tuple[int, int, Callable[[Path], None]]] = {
    "low": (20 * MIB, 0, lambda folder: ballast(folder, 40 * MIB)),
    "a checkpoint does not fit": (0, 0, lambda folder: ballast(folder, 20 * MIB)),
    "full at once": (4 * MIB, 0, lambda folder: ballast(folder, 0)),
    "no inodes": (4 * MIB, 400, many_files),
}


@pytest.mark.parametrize("case", CASES)
def test_a_job_waits_for_disk_space_and_ends_with_the_same_bits(
    disk: Callable[..., Path], tmp_path: Path, undisturbed: str, case: str
) -> None:
    min_free_disk_bytes, inodes, fill = CASES[case]
    folder, log = disk(DISK, inodes), tmp_path / "log"
    with serving(
        folder / "data", log, BATCHGRAD_MIN_FREE_DISK_BYTES=str(min_free_disk_bytes)
    ) as client:
        client.put_arrays("digits", *digits())
        job = client.submit(SPEC)
        until_job(client, job.id, lambda job: job.step >= 5)
        fill(folder)
        if case == "full at once":  # the database may be full too: the job's state cannot change
            wait_for_trouble(client)
        else:
            waiting = until_job(client, job.id, lambda job: job.reason == "disk_full")
            if case != "no inodes":  # which the engine or the service may notice first
                assert ("suspended" in (waiting.detail or "")) == (case == "low")
        if min_free_disk_bytes:
            wait_for_trouble(client)
            for refused in (
                lambda: client.submit({**SPEC, "name": "another"}),
                lambda: client.put_arrays("more", *digits()),
            ):
                with pytest.raises(BatchgradError, match=r"batchgrad gc"):
                    refused()
            client.job(job.id)  # stored jobs can be read
        for file in folder.glob("ballast*"):
            file.unlink()
        done = client.wait(job.id, timeout=PATIENCE_SECONDS)
        assert done.status == "succeeded"
        assert done.last_parameters_digest == undisturbed
        assert not any("ballast" in path.name for path in folder.iterdir())
    assert "Traceback" not in log.read_text()


def wait_for_trouble(client: Client) -> None:
    """Wait until the service reports that it is not ready."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while client.ready():
        assert time.monotonic() < deadline
        time.sleep(0.05)
