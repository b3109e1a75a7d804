"""Jobs on a table: the encoding is fitted once, kept with the job, and decides the bits."""

import json
import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from batchgrad.contract import Column, Encoding
from batchgrad_engine.checkpoints import checkpoints
from batchgrad_engine.checkpoints.checkpoints import BadCheckpoint, Snapshot
from batchgrad_engine.checkpoints.exports import parameters_as_npz, parameters_as_safetensors
from batchgrad_engine.checkpoints.origin import read_origin, transform_warning
from batchgrad_engine.messages import AnyEngineMessage
from batchgrad_engine.replay import replay
from batchgrad_engine.training.sampling import job_sampler
from batchgrad_workers.arrays import Array
from batchgrad_workers.data.dataset import StoredDataset
from batchgrad_workers.data.tables.encoding import TableEncoding
from batchgrad_workers.data.tables.fitting import fit_encoding
from tests.engine.attempts import ScriptedCommands, attempt, bits, finished, newest, rows
from tests.engine.small_job import spec
from tests.engine.test_replay import request
from tests.workers import jobs
from tests.workers.tables.table_rows import TableRows, content, table_rows

START: dict[str, Any] = {"digest": "sha256:" + "0" * 64, "standardization": "keep"}


def stored(directory: Path, of: TableRows) -> Path:
    """A dataset of these rows; their classes depend on the color and the age."""
    directory.mkdir()
    classes = (np.nan_to_num(of.column("color")) + (of.column("age") > 5)).astype(np.int64) % 3
    for name, array in content(of, classes).items():
        np.save(directory / f"{name}.npy", array)
    return directory


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return stored(tmp_path / "table", table_rows(101, dates="parts"))


def kept(directory: Path) -> TableEncoding:
    transform = newest(directory).transform
    assert isinstance(transform, TableEncoding)
    return transform


def outputs(parameters: dict[str, Array], inputs: Array) -> Array:
    hidden = np.tanh(inputs @ parameters["0.weight"].T + parameters["0.bias"])
    return hidden @ parameters["2.weight"].T + parameters["2.bias"]


def test_a_job_learns_from_an_encoded_table(table: Path, job_directory: Path) -> None:
    done = attempt(spec(validation_fraction=0.2), table, job_directory)
    losses = np.array([row.loss for row in rows(done)], float)
    assert finished(done).outcome == "succeeded"
    assert losses[-1] < 0.9 * losses[0]


def test_other_validation_rows_change_no_bit_of_the_encoding(table: Path, tmp_path: Path) -> None:
    job = spec(validation_fraction=0.2)
    attempt(job, table, tmp_path / "one")
    inputs = np.load(table / "inputs.npy")
    before = kept(tmp_path / "one").encoding
    assert before.inputs[0].mean != 0
    inputs[job_sampler(job, StoredDataset.open(table)).validation, 0] = 1e6
    np.save(table / "inputs.npy", inputs)
    attempt(job, table, tmp_path / "two")
    assert kept(tmp_path / "two").encoding == before


def test_a_resumed_job_has_the_same_bits(table: Path, tmp_path: Path) -> None:
    job = spec(validation_fraction=0.2)
    whole = attempt(job, table, tmp_path / "whole")
    attempt(job, table, tmp_path / "cut", ScriptedCommands(7, "pause"))
    assert bits(attempt(job, table, tmp_path / "cut")) == bits(whole)
    assert kept(tmp_path / "cut").encoding == kept(tmp_path / "whole").encoding


def test_a_step_is_replayed(table: Path, job_directory: Path) -> None:
    job = spec()
    done = rows(attempt(job, table, job_directory, ScriptedCommands(6, "pause")))
    done += rows(attempt(job, table, job_directory))
    first = min(job_directory.glob("step-*"))
    for start in (None, first):
        assert replay(request(job, table, done[8], checkpoint=start)).verified


@pytest.mark.parametrize("threads", [1, 3])
def test_workers_in_other_processes_compute_the_same_bits(
    table: Path, tmp_path: Path, threads: int
) -> None:
    """A config is pickled on its way to a worker; parts of a step are computed anywhere."""
    dataset = StoredDataset.open(table)
    assert dataset.table is not None
    encoding = fit_encoding(dataset.table, dataset.inputs, np.arange(80), standardize=True)
    of = jobs.worker_config(table, transform=encoding, precision="float32")
    expected, _ = jobs.whole(of)
    edges = list(pairwise([0, 1, 5, jobs.M]))
    found, _ = jobs.whole(pickle.loads(pickle.dumps(of)), edges, threads)  # noqa: S301
    assert jobs.bits(found) == jobs.bits(expected)


def test_a_changed_encoding_is_seen(table: Path, job_directory: Path) -> None:
    attempt(spec(), table, job_directory)
    path = max(job_directory.glob("step-*"))
    whole = path.read_bytes()
    place = whole.index(b'"inputs":[{"name":"age"')
    path.write_bytes(whole[: place + 20] + b"b" + whole[place + 21 :])
    with pytest.raises(BadCheckpoint, match="has changed"):
        checkpoints.read(path)


@pytest.mark.parametrize("fold", [False, True])
def test_downloads_hold_the_encoding(table: Path, job_directory: Path, fold: bool) -> None:
    job = spec(precision="float64")
    attempt(job, table, job_directory)
    path, model = max(job_directory.glob("step-*")), job.model if fold else None
    file = job_directory / "download.safetensors"
    file.write_bytes(parameters_as_safetensors(path, model, which="last"))
    with safe_open(file, "numpy") as opened:
        about = json.loads(opened.metadata()["batchgrad"])
    encoding = TableEncoding.of(Encoding.model_validate(about["encoding"]))
    inputs = np.load(table / "inputs.npy")
    own = newest(job_directory)
    expected = outputs(own.parameters, kept(job_directory).apply(inputs, "float64"))
    found = outputs(load_file(file), encoding.apply(inputs, "float64"))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    assert ("standardization_folded_into" in about) == fold
    assert (encoding.standardization is None) == fold
    (job_directory / "download.npz").write_bytes(parameters_as_npz(path, model, which="last"))
    with np.load(job_directory / "download.npz") as npz:
        assert json.loads(npz["encoding.json"].tobytes()) == about["encoding"]


def went_on(table: Path, directory: Path, given: Path, **start: Any) -> list[AnyEngineMessage]:
    job = spec(initial_parameters=START | start, steps=1, epochs=None)
    return attempt(job, table, directory, initial_parameters=given)


@pytest.fixture
def given(table: Path, tmp_path: Path) -> Path:
    """Final parameters of a job on `table`."""
    attempt(spec(keep="last"), table, tmp_path / "first")
    file = tmp_path / "given.safetensors"
    file.write_bytes(parameters_as_safetensors(max((tmp_path / "first").glob("step-*"))))
    return file


def reversed_columns(of: TableRows) -> TableRows:
    columns: list[Column] = of.table.inputs[::-1]
    return TableRows(of.table.model_copy(update={"columns": columns}), of.raw[:, ::-1].copy())


def test_keep_encodes_another_table_as_the_parameters_know_it(
    table: Path, tmp_path: Path, given: Path
) -> None:
    """Also after an interruption, when the encoding comes from the job's own checkpoint."""
    other = stored(tmp_path / "other", reversed_columns(table_rows(101, dates="parts")))
    here = rows(went_on(table, tmp_path / "here", given))
    there = rows(went_on(other, tmp_path / "there", given))
    assert there[0].gradient_checksum == here[0].gradient_checksum
    assert kept(tmp_path / "there").encoding == kept(tmp_path / "first").encoding
    job = spec(initial_parameters=START)
    whole = attempt(job, other, tmp_path / "whole", initial_parameters=given)
    attempt(job, other, tmp_path / "cut", ScriptedCommands(7, "pause"), initial_parameters=given)
    rest = attempt(job, other, tmp_path / "cut", initial_parameters=given)
    assert bits(rest) == bits(whole)


def test_keep_needs_a_table_with_these_columns(tmp_path: Path, given: Path) -> None:
    of = table_rows(101, dates="parts")
    lacking = of.table.model_copy(update={"columns": of.table.inputs[1:]})
    less = stored(tmp_path / "less", TableRows(of.table, of.raw))
    np.save(less / "inputs.npy", of.raw[:, 1:])
    np.save(less / "table.npy", np.frombuffer(lacking.model_dump_json().encode(), np.uint8))
    end = finished(went_on(less, tmp_path / "job", given))
    assert (end.outcome, end.reason) == ("failed", "bad_initial_parameters")
    assert "There is no input column 'age'" in (end.detail or "")


def test_a_start_from_other_inputs_gives_a_warning(table: Path, given: Path) -> None:
    known = read_origin(given.read_bytes())
    dataset = StoredDataset.open(table)
    assert dataset.table is not None

    def warning(encoding: TableEncoding | None, **changes: Any) -> str:
        return (
            transform_warning(known, encoding, **{"standardize": True, "is_table": True, **changes})
            or ""
        )

    inputs = dataset.inputs.copy()

    def own(**changes: Any) -> TableEncoding:
        assert dataset.table is not None
        of = dataset.table.model_copy(update=changes)
        return fit_encoding(of, inputs, np.arange(101), standardize=True)

    assert isinstance(known.transform, TableEncoding)
    assert warning(known.transform) == ""
    assert "trained on a table's columns, but this job's inputs are arrays" in warning(
        None, is_table=False
    )
    assert "trained on standardized inputs" in warning(None, standardize=False)
    assert "other inputs of a table: input" in warning(own(rare=40))
    inputs[:, 4] += 100
    assert "for input 5 (whole) they were" in warning(own())


def test_a_checkpoint_of_arrays_has_no_encoding(dataset: Path, job_directory: Path) -> None:
    attempt(spec(standardize=False), dataset, job_directory)
    found: Snapshot = newest(job_directory)
    assert found.transform is None
