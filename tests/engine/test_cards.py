"""The model card of a download: what it holds, in both formats, and a table's rows by it."""

import io
import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import batchgrad
from batchgrad.contract import JobSpec, Table
from batchgrad.downloads.card import Card
from batchgrad.downloads.reading import _numbers, read_card, read_tensors
from batchgrad.errors import BatchgradError, InvalidArgument
from batchgrad_engine.checkpoints.exports import parameters_as_npz, parameters_as_safetensors
from batchgrad_workers.data.standardization import Standardization
from batchgrad_workers.data.tables.encoding import TableEncoding
from batchgrad_workers.data.tables.fitting import fit_encoding
from tests.engine.attempts import attempt, newest
from tests.engine.small_job import spec
from tests.workers.tables.table_rows import COLORS, content, table_of, table_rows

BOTH = {"safetensors": parameters_as_safetensors, "npz": parameters_as_npz}


def cards(job: JobSpec, dataset: Path, directory: Path, *, fold: bool = False) -> Card:
    """The card of the best parameters, which is the same in both formats."""
    attempt(job, dataset, directory)
    path, model = max(directory.glob("step-*")), job.model if fold else None
    first, second = (read_card(made(path, model, which="best")) for made in BOTH.values())
    assert first == second
    return first


def named(dataset: Path, table: Table) -> Path:
    np.save(dataset / "table.npy", np.frombuffer(table.model_dump_json().encode(), np.uint8))
    return dataset


def test_it_tells_of_arrays(dataset: Path, job_directory: Path) -> None:
    """Class names alone, of pictures for example, make no table of the inputs."""
    named(dataset, Table(columns=[], classes=["cat", "dog", "owl"]))
    card = cards(spec(), dataset, job_directory)
    snapshot = newest(job_directory)
    assert isinstance(snapshot.transform, Standardization)
    assert snapshot.best is not None
    assert card.evaluation == snapshot.best.evaluation
    assert (card.which, card.step) == ("best", snapshot.best.evaluation.step)
    assert card.parameters_digest == snapshot.kept_digest
    last = read_card(parameters_as_npz(max(job_directory.glob("step-*")), None, which="last"))
    assert (last.which, last.step, last.evaluation) == ("last", snapshot.step, None)
    assert card.standardization is not None
    assert card.standardization.mean == snapshot.transform.mean.tolist()
    assert card.standardization.deviation == snapshot.transform.deviation.tolist()
    assert card.layers == spec().model_dump(mode="json", exclude_defaults=True)["model"]["layers"]
    assert card.training is not None
    assert JobSpec.model_validate(card.training.spec) == spec()
    assert card.training.classes == ["cat", "dog", "owl"]
    assert (card.training.input_shape, card.training.inputs) == ([6], None)
    assert card.training.link == "softmax"
    versions = card.training.versions
    assert versions["batchgrad"] == batchgrad.__version__
    assert versions["numpy"] == np.__version__
    assert {"python", "numba", "blas"} <= versions.keys()
    with pytest.raises(InvalidArgument, match=r"not trained on a table: .* standardized"):
        card.encode([])


@pytest.mark.parametrize("fold", [False, True])
def test_it_encodes_rows_as_the_job_did(tmp_path: Path, job_directory: Path, fold: bool) -> None:
    """Also of texts and gaps that the training rows lack."""
    rows = table_rows(101, dates="parts", rare=20, classes=["a", "b", "c"])
    for name, array in content(rows, np.arange(101) % 3).items():
        np.save(tmp_path / f"{name}.npy", array)
    card = cards(spec(), tmp_path, job_directory, fold=fold)
    assert card.training is not None
    assert card.training.inputs == [name for c in rows.table.inputs for name in c.inputs]
    assert card.training.classes == ["a", "b", "c"]
    assert (card.folded_into == "0") == fold
    assert card.encoding is not None
    given: list[dict[str, Any]] = [
        {
            column.name: None
            if np.isnan(x)
            else (column.categories[int(x)] if column.categories else x)
            for column, x in zip(rows.table.inputs, row, strict=True)
        }
        for row in rows.raw
    ]
    for row in given:
        row["since"] = datetime.fromtimestamp(round(row["since"] * 24) * 3600, UTC)
    expected = TableEncoding.of(card.encoding).apply(rows.raw, "float64")
    np.testing.assert_allclose(card.encode(given), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("text", "code"), [("blue", 0), ("violet", 3), ("aqua", 4), (None, np.nan), ("", np.nan)]
)
@pytest.mark.parametrize("rare", [1, 5])
def test_texts_are_those_of_the_kernel(rare: int, text: str | None, code: float) -> None:
    table = table_of([{"name": "color", "kind": "category", "categories": COLORS}], rare=rare)
    raw = np.repeat([0.0, 1, 3], [9, 3, 5])[:, None]
    encoding = fit_encoding(table, raw, np.arange(len(raw)), standardize=False)
    card = Card(which="last", step=1, parameters_digest="", encoding=encoding.encoding)
    expected = encoding.apply(np.array([[code]]), "float64")
    assert card.encode([{"color": text}]) == expected.tolist()


def test_dates_and_booleans_may_be_texts() -> None:
    table = table_of([{"name": "at", "kind": "date"}, {"name": "on", "kind": "boolean"}])
    encoding = fit_encoding(table, np.zeros((2, 2)), np.arange(2), standardize=False)
    card = Card(which="last", step=1, parameters_digest="", encoding=encoding.encoding)
    for at in ("1970-01-03T12:00", "1970-01-03 14:00+02:00", datetime(1970, 1, 3, 12)):  # noqa: DTZ001
        assert card.encode([{"at": at, "on": "true"}]) == [[2.5, 1.0]]
    assert card.encode([{"at": date(1970, 1, 3), "on": np.bool_(False)}]) == [[2.0, 0.0]]
    with pytest.raises(InvalidArgument, match="Row 0 has 'soon' in column 'at'; expected a date"):
        card.encode([{"at": "soon", "on": True}])
    with pytest.raises(InvalidArgument, match=r"Row 0 has no column 'on'; it has \['at'\]"):
        card.encode([{"at": None}])


def test_a_card_that_is_too_long_for_a_comment(dataset: Path, job_directory: Path) -> None:
    classes = [f"class {n:06d}" for n in range(9000)]
    card = cards(spec(epochs=1), named(dataset, Table(columns=[], classes=classes)), job_directory)
    assert card.training is not None
    assert card.training.classes == classes


def test_tensors_are_read(dataset: Path, job_directory: Path) -> None:
    attempt(spec(), dataset, job_directory)
    own = newest(job_directory).parameters
    found = read_tensors(parameters_as_safetensors(max(job_directory.glob("step-*"))))
    assert found.keys() == own.keys()
    for name, tensor in found.items():
        array = np.frombuffer(tensor.content, tensor.dtype).reshape(tensor.shape)
        np.testing.assert_array_equal(array, own[name])


def test_arrays_of_an_npz_are_read_without_numpy() -> None:
    array = np.arange(12.0).reshape(2, 3, 2)
    file = io.BytesIO()
    np.save(file, array)
    assert _numbers(file.getvalue()) == array.tolist()


def archive(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK",
        b"\x02\0\0\0\0\0\0\0{}",
        b"\xff" * 20,
        json.dumps({"batchgrad": 3}).encode(),
        archive(x=np.zeros(2)),
        archive(**{"card.json": np.zeros(3, np.uint8)}),
    ],
)
def test_another_file_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidArgument, match="no download of batchgrad"):
        read_card(content)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BatchgradError, match="cannot be read"):
        read_card(tmp_path / "no.safetensors")
    with pytest.raises(BatchgradError, match="file is"):
        read_card(3)  # type: ignore[arg-type]
