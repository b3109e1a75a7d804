"""A job validates on the rows that a column names, or on another dataset: the same figures."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchgrad.contract import JobSpec
from batchgrad_workers.data.source import DatasetSource
from tests.engine.attempts import attempt, evaluations, finished
from tests.engine.small_job import spec
from tests.workers.tables.table_rows import TableRows, content, table_rows

TRAINING, VALIDATION, TEST = 61, 29, 11


def part(dataset: Path, directory: Path, rows: slice) -> Path:
    """Store some rows of the dataset, without weights, as another one."""
    directory.mkdir()
    for name in ("inputs", "targets"):
        np.save(directory / f"{name}.npy", np.load(dataset / f"{name}.npy")[rows])
    return directory


def job(**validation: Any) -> JobSpec:
    return spec(validation_fraction=0.0, validation=validation)


def test_named_rows_and_another_dataset_give_the_same_bits(dataset: Path, tmp_path: Path) -> None:
    (dataset / "weights.npy").unlink()
    np.save(dataset / "split.npy", np.repeat([0, 1, 2], [TRAINING, VALIDATION, TEST]))
    training = part(dataset, tmp_path / "training", slice(TRAINING))
    validation = part(dataset, tmp_path / "validation", slice(TRAINING, TRAINING + VALIDATION))

    by_rows = attempt(job(rows="set"), dataset, tmp_path / "rows")
    by_dataset = attempt(
        job(dataset="validation"),
        training,
        tmp_path / "dataset",
        validation_dataset=DatasetSource(validation),
    )

    figures = [one.model_dump(exclude={"type"}) for one in evaluations(by_rows)]
    assert [one.model_dump(exclude={"type"}) for one in evaluations(by_dataset)] == figures
    assert len(figures) == 4
    assert finished(by_rows).parameters_digest == finished(by_dataset).parameters_digest


def test_rows_of_weight_0_are_not_evaluated(dataset: Path, tmp_path: Path) -> None:
    (dataset / "weights.npy").unlink()
    training = part(dataset, tmp_path / "training", slice(TRAINING))
    sources = []
    for rows in (VALIDATION, VALIDATION + TEST):
        other = part(dataset, tmp_path / f"validation {rows}", slice(TRAINING, TRAINING + rows))
        np.save(other / "weights.npy", np.where(np.arange(rows) < VALIDATION, 1.0, 0.0))
        sources.append(DatasetSource(other))

    figures = [
        [one.model_dump(exclude={"type"}) for one in evaluations(messages)]
        for messages in (
            attempt(job(dataset="v"), training, tmp_path / f"job {n}", validation_dataset=source)
            for n, source in enumerate(sources)
        )
    ]

    assert figures[0] == figures[1]
    assert len(figures[0]) > 0


def recoded(rows: TableRows) -> TableRows:
    """The same rows with the columns, each column's categories and the classes in reverse order."""
    columns, raw = [], []
    for index, column in reversed(list(enumerate(rows.table.columns))):
        values, texts = rows.raw[:, index], column.categories
        if texts is not None:
            values, texts = len(texts) - 1 - values, texts[::-1]
        columns.append(column.model_copy(update={"categories": texts}))
        raw.append(values)
    changes = {"columns": columns, "classes": (rows.table.classes or [])[::-1]}
    return TableRows(rows.table.model_copy(update=changes), np.stack(raw, axis=1))


def store_table(directory: Path, rows: TableRows, classes: Any, **more: Any) -> Path:
    directory.mkdir()
    for name, array in (content(rows, classes) | more).items():
        np.save(directory / f"{name}.npy", array)
    return directory


def test_a_table_is_validated_on_by_its_columns_and_classes_names(tmp_path: Path) -> None:
    rows = table_rows(TRAINING + VALIDATION, classes=["high", "low", "none"])
    classes = np.arange(len(rows.raw)) % 3
    sets = np.repeat([0, 1], [TRAINING, VALIDATION])
    whole = store_table(tmp_path / "whole", rows, classes, split=sets)
    training = TableRows(rows.table, rows.raw[:TRAINING])
    other = recoded(TableRows(rows.table, rows.raw[TRAINING:]))

    by_rows = attempt(job(rows="set"), whole, tmp_path / "rows")
    by_dataset = attempt(
        job(dataset="other"),
        store_table(tmp_path / "training", training, classes[:TRAINING]),
        tmp_path / "dataset",
        validation_dataset=DatasetSource(
            store_table(tmp_path / "other", other, 2 - classes[TRAINING:])
        ),
    )

    assert finished(by_rows).parameters_digest == finished(by_dataset).parameters_digest
    figures = [one.model_dump(exclude={"type"}) for one in evaluations(by_rows)]
    assert [one.model_dump(exclude={"type"}) for one in evaluations(by_dataset)] == figures


@pytest.mark.parametrize("changed", ["test", "validation"])
def test_training_does_not_depend_on_held_out_rows(
    dataset: Path, tmp_path: Path, changed: str
) -> None:
    """Neither test rows nor validation rows change the statistics or the parameters."""
    sets = np.repeat([0, 1, 2], [TRAINING, VALIDATION, TEST])
    np.save(dataset / "split.npy", sets)
    same_last = job(rows="set").model_copy(update={"keep": "last"})
    before = finished(attempt(same_last, dataset, tmp_path / "before"))
    inputs = np.load(dataset / "inputs.npy")
    inputs[sets == {"validation": 1, "test": 2}[changed]] *= 100
    np.save(dataset / "inputs.npy", inputs)

    after = finished(attempt(same_last, dataset, tmp_path / "after"))

    assert after.parameters_digest == before.parameters_digest
