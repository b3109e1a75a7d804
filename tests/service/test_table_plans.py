"""Plans of jobs on a table: widths, warnings by a column's name, what a table can't be used for."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchgrad.contract import Dataset, JobSpec, Plan
from batchgrad_service.problems import InvalidError
from batchgrad_service.validation.job_data import JobData, StoredData, layers_shape
from batchgrad_service.validation.plan import plan
from batchgrad_service.validation.validation_dataset import check_validation_dataset
from batchgrad_workers.nn.network import Network
from tests.service.building import DIGEST, NOW
from tests.service.planned import SGD, linear
from tests.workers.tables.table_rows import TableRows, content, table_of

COLUMNS: list[dict[str, Any]] = [
    {"name": "age", "kind": "number", "lowest": 18, "highest": 90, "missing_rule": "mean"},
    {"name": "color", "kind": "category", "categories": ["blue", "red"]},
]


def pushed(directory: Path, name: str, columns: list[dict[str, Any]]) -> Dataset:
    """A dataset of 20 rows of zeros, with gaps in the first column."""
    table = table_of(columns)
    raw = np.zeros((20, len(columns)), np.float32)
    raw[::3, 0] = np.nan
    directory.mkdir(exist_ok=True)
    for array_name, array in content(TableRows(table, raw), np.arange(20) % 2).items():
        np.save(directory / f"{array_name}.npy", array)
    return Dataset(
        name=name,
        created_at=NOW,
        digest=DIGEST,
        examples=20,
        input_shape=[sum(len(column.inputs) for column in table.inputs)],
        input_dtype="float32",
        target_kind="classes",
        classes=2,
        weighted=False,
        bytes=100,
        table=table,
    )


def planned(
    directory: Path,
    columns: list[dict[str, Any]],
    *layers: Any,
    other: list[dict[str, Any]] | None = None,
    **changes: Any,
) -> Plan:
    """The plan of a job on a dataset d of these columns, and on `other` ones for validation."""
    data = JobData(pushed(directory / "d", "d", columns), directory / "d")
    spec = {
        "name": "j",
        "dataset": "d",
        "loss": "softmax_cross_entropy",
        "optimizer": SGD,
        "batch_size": 8,
        "epochs": 2,
        "model": {"layers": [*layers, linear(2)]},
    }
    if other is not None:
        spec["validation"] = {"dataset": "v"}
        stored = StoredData(pushed(directory / "v", "v", other), directory / "v")
        data = replace(data, validation=stored)
    return plan(JobSpec.model_validate(spec | changes), data)


def test_gaps_are_no_trouble_and_the_width_is_the_encoding_s(tmp_path: Path) -> None:
    found = planned(tmp_path, COLUMNS, standardize=True)
    assert found.warnings == []
    assert found.parameters == 2 * (1 + 3 + 1)


def test_scales_are_compared_by_the_columns_names(tmp_path: Path) -> None:
    income = {"name": "income", "kind": "number", "lowest": 0, "highest": 1e6}
    [text] = planned(tmp_path, [*COLUMNS, income]).warnings
    assert "column income ranges from 0 to 1e+06, a category or boolean from 0 to 1" in text
    assert "standardize: true" in text
    assert planned(tmp_path, [*COLUMNS, income], standardize=True).warnings == []
    far = income | {"highest": 1e300}
    [text] = planned(tmp_path, [*COLUMNS, far]).warnings
    assert "The values of column income reach 1e+300, but float32" in text


def test_a_table_is_no_ids(tmp_path: Path) -> None:
    embedding = {"kind": "embedding", "num_embeddings": 5, "embedding_dim": 2}
    with pytest.raises(InvalidError, match="columns of a table reach the network as numbers"):
        planned(tmp_path, COLUMNS, embedding, {"kind": "flatten"})


def test_texts_and_gaps_of_a_validation_table_are_told(tmp_path: Path) -> None:
    other: list[dict[str, Any]] = [
        COLUMNS[0],
        {"name": "color", "kind": "category", "categories": ["aqua", "red", "white"], "missing": 3},
    ]
    texts, gaps = planned(tmp_path, COLUMNS, other=other, standardize=True).warnings
    assert "Column 'color' of dataset v has the text 'aqua' and 1 more, which dataset d" in texts
    assert "has gaps in 3 rows, dataset d has none: the network gets no category" in gaps
    gaps_of_age = [{**COLUMNS[0], "missing": 7}, COLUMNS[1]]
    [filled] = planned(tmp_path, COLUMNS, other=gaps_of_age, standardize=True).warnings
    assert (
        "has gaps in 7 rows, dataset d has none: the network gets the training rows' mean" in filled
    )
    assert planned(tmp_path, COLUMNS, other=COLUMNS, standardize=True).warnings == []
    assert planned(tmp_path, gaps_of_age, other=gaps_of_age, standardize=True).warnings == []


def test_a_table_does_not_validate_on_arrays(tmp_path: Path) -> None:
    table = JobData(pushed(tmp_path / "d", "d", COLUMNS), tmp_path / "d")
    arrays = table.dataset.model_copy(update={"name": "v", "table": None})
    spec = JobSpec.model_validate(
        {
            "name": "j",
            "dataset": "d",
            "loss": "softmax_cross_entropy",
            "optimizer": SGD,
            "batch_size": 8,
            "epochs": 2,
            "model": {"layers": [linear(2)]},
            "validation": {"dataset": "v"},
        }
    )
    with pytest.raises(InvalidError, match="Dataset d is a table, v has arrays: push both"):
        plan(spec, replace(table, validation=StoredData(arrays, tmp_path / "d")))


def test_a_table_of_numbers_does_not_validate_on_classes(tmp_path: Path) -> None:
    target = {"name": "y", "kind": "number", "role": "target"}
    numbers = pushed(tmp_path / "d", "d", [*COLUMNS, target])
    assert numbers.table is not None
    classes = numbers.model_copy(
        update={"name": "v", "table": numbers.table.model_copy(update={"classes": ["a", "b"]})}
    )
    spec = JobSpec.model_validate(
        {
            "name": "j",
            "dataset": "d",
            "loss": "squared_error",
            "optimizer": SGD,
            "batch_size": 8,
            "epochs": 2,
            "model": {"layers": [linear(1)]},
            "validation": {"dataset": "v"},
        }
    )
    with pytest.raises(InvalidError, match="Dataset v has the class 'a', which this job's"):
        check_validation_dataset(
            spec,
            numbers,
            StoredData(classes, tmp_path / "d"),
            Network(spec.model, layers_shape(numbers)),
        )


def test_the_column_of_sets_has_one_name(tmp_path: Path) -> None:
    sets = {"name": "part", "kind": "category", "role": "split"}
    with pytest.raises(InvalidError, match=r"got 'set'; the column that names .* is 'part'"):
        planned(tmp_path, [*COLUMNS, sets], validation={"rows": "set"})
