"""Checkpoint files: written atomically, read bit for bit, refused when torn or changed."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load

from batchgrad_engine.checkpoints import checkpoints, exports, job_directory
from batchgrad_engine.checkpoints.checkpoints import BadCheckpoint, Snapshot
from batchgrad_engine.checkpoints.example_ledger import COLUMNS
from batchgrad_engine.checkpoints.writer import CheckpointWriter
from batchgrad_engine.messages import Checkpointed
from batchgrad_workers.data.standardization import Standardization
from batchgrad_workers.system.process_memory import at_most


def snapshot(step: int = 7) -> Snapshot:
    random = np.random.default_rng(step)
    return Snapshot(
        step=step,
        parameters={
            "0.weight": random.normal(size=(3, 2)).astype(np.float32),
            "0.bias": random.normal(size=3).astype(np.float32),
        },
        optimizer={"velocity": random.normal(size=9).astype(np.float32)},
        transform=Standardization(random.normal(size=2), random.uniform(1, 2, size=2)),
        parameters_digest="sha256:" + "0" * 64,
        build_info={"numpy": "2"},
    )


def test_comes_back_bit_for_bit(tmp_path: Path) -> None:
    given = snapshot()
    written = checkpoints.write(tmp_path, given)
    found = checkpoints.read(written.path)
    assert list(found.parameters) == ["0.weight", "0.bias"]
    for name, array in given.parameters.items():
        assert found.parameters[name].tobytes() == array.tobytes()
    assert found.optimizer["velocity"].tobytes() == given.optimizer["velocity"].tobytes()
    assert isinstance(found.transform, Standardization)
    assert isinstance(given.transform, Standardization)
    np.testing.assert_array_equal(found.transform.mean, given.transform.mean)
    assert (found.step, found.build_info) == (7, {"numpy": "2"})
    assert written.bytes == written.path.stat().st_size


def test_nothing_but_the_file_is_left(tmp_path: Path) -> None:
    written = checkpoints.write(tmp_path, snapshot())
    assert list(tmp_path.iterdir()) == [written.path]


@pytest.mark.parametrize("keep", [0, 10, 200, -1])
def test_torn_file_is_skipped_with_an_error(tmp_path: Path, keep: int) -> None:
    checkpoints.write(tmp_path, snapshot(7))
    newer = checkpoints.write(tmp_path, snapshot(12)).path
    newer.write_bytes(newer.read_bytes()[:keep])
    found, errors = job_directory.newest(tmp_path)
    assert found is not None
    assert found.step == 7
    assert newer.name in errors[0]


def test_changed_number_is_noticed(tmp_path: Path) -> None:
    path = checkpoints.write(tmp_path, snapshot()).path
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadCheckpoint, match="has changed since it was written"):
        checkpoints.read(path)


def test_a_large_ledger_is_not_read_into_memory(tmp_path: Path) -> None:
    columns = {name: np.ones(10**6, kind) for name, kind in COLUMNS.items()}  # 40 MB
    written = checkpoints.write(tmp_path, replace(snapshot(), ledger=columns))
    with at_most(16 * 2**20):
        read = checkpoints.read(written.path)
    for name, column in columns.items():
        np.testing.assert_array_equal(read.ledger[name], column)


def test_a_writer_writes_and_reports_each_step_once(tmp_path: Path) -> None:
    sent: list[Checkpointed] = []
    writer = CheckpointWriter(tmp_path, 0.0, sent.append)
    assert writer.write(snapshot(7))
    assert not writer.write(snapshot(7))
    assert writer.write(snapshot(12))
    assert [(each.step, each.file) for each in sent] == [
        (step, f"step-{step:010d}.safetensors") for step in (7, 12)
    ]


def test_a_checkpoint_is_due_after_the_interval(tmp_path: Path) -> None:
    assert CheckpointWriter(tmp_path, 0.0, print).due
    assert not CheckpointWriter(tmp_path, 3600.0, print).due


def test_no_checkpoint_at_all(tmp_path: Path) -> None:
    assert job_directory.newest(tmp_path) == (None, [])


def test_foreign_safetensors_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "step-1.safetensors"
    path.write_bytes(
        exports.parameters_as_safetensors(checkpoints.write(tmp_path, snapshot()).path)
    )
    with pytest.raises(BadCheckpoint, match="format"):
        checkpoints.read(path)


def test_download_holds_the_parameters_under_their_names(tmp_path: Path) -> None:
    given = snapshot()
    path = checkpoints.write(tmp_path, given).path
    tensors = load(exports.parameters_as_safetensors(path))
    assert set(tensors) == {"0.weight", "0.bias"}
    with np.load(io.BytesIO(exports.parameters_as_npz(path))) as arrays:
        assert set(arrays) == {"0.weight", "0.bias", "standardize.mean", "standardize.deviation"}
        np.testing.assert_array_equal(arrays["0.weight"], given.parameters["0.weight"])
