"""The examples to predict or evaluate, in batches, from rows, arrays, files or datasets."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from batchgrad.contract import RowSet, UploadedFile
from batchgrad_engine.training.sampling import job_sampler
from batchgrad_service.predicting.tasks import DataTask
from batchgrad_service.predicting.trained_network import TrainedNetwork
from batchgrad_service.problems import InvalidError
from batchgrad_service.validation.arrays import numbers
from batchgrad_workers.arrays import Integers
from batchgrad_workers.data.dataset import AnyArray, StoredDataset
from batchgrad_workers.data.tables.fitting import gap_filling

BATCH_NUMBERS = 2**20
"""Most input numbers in a batch of a dataset: 8 MB as float64."""


@dataclass(frozen=True)
class Batch:
    """Stored inputs (n, …), targets (n,) or (n, outputs), weights (n,), ids (n,) UTF-8."""

    inputs: AnyArray
    targets: AnyArray | None = None
    weights: AnyArray | None = None
    ids: AnyArray | None = None


@dataclass
class Examples:
    """Batches of examples for `network`; `rows` is None until their number is known.

    `id_name` names the column of the ids. After the last batch, `warnings` are complete.
    """

    network: TrainedNetwork
    batches: Iterator[Batch]
    rows: int | None = None
    id_name: str = "id"
    warnings: list[str] = field(default_factory=list)


def examples(task: DataTask, network: TrainedNetwork, *, with_targets: bool) -> Examples:
    """Open the examples of a task.

    Raises:
        InvalidError: they do not fit the network; also while the batches are read.
    """
    if task.dataset is not None:
        stored = StoredDataset.open(task.dataset)
        return _of_dataset(stored, network, task.set, with_targets=with_targets)
    if task.inputs is not None:
        given = numbers(task.inputs, "/inputs")
        network.check(given)
        return Examples(network, iter([Batch(given)]), len(given))
    if task.rows is not None:
        return _of_rows(task.rows, network)
    assert task.file is not None  # noqa: S101 - the contract demands one of them
    assert task.path is not None  # noqa: S101
    return _of_file(task.path, task.file, task, network, with_targets=with_targets)


def _of_rows(rows: list[dict[str, Any]], network: TrainedNetwork) -> Examples:
    """Read the rows as a file of JSON lines, which exists in memory alone."""
    if network.table is None:
        raise InvalidError.field(
            "/rows", "The job was trained on arrays, which have no columns: give inputs."
        )
    if not rows:
        raise InvalidError.field("/rows", "There are no rows: give at least one.")
    descriptor = os.memfd_create("rows")
    with os.fdopen(descriptor, "wb") as file:
        for row in rows:
            file.write(json.dumps(row).encode() + b"\n")
        file.flush()
        path = Path(f"/proc/self/fd/{descriptor}")
        found = _of_table(path, UploadedFile(upload=_NO_DIGEST, format="jsonl"), network)
        found.batches = iter(list(found.batches))  # as long as the file exists
        return found


_NO_DIGEST = "sha256:" + "0" * 64


def _of_file(
    path: Path,
    file: UploadedFile,
    task: DataTask,
    network: TrainedNetwork,
    *,
    with_targets: bool,
) -> Examples:
    # pyarrow takes 40 MB, which other questions and the service need not have.
    from batchgrad_service.reading.formats.format import TableFormat  # noqa: PLC0415
    from batchgrad_service.reading.formats.recognition import recognised  # noqa: PLC0415
    from batchgrad_service.reading.formats.registry import FORMATS  # noqa: PLC0415

    format_ = FORMATS[recognised(path, file)]
    if isinstance(format_, TableFormat):
        if network.table is None:
            raise InvalidError.field(
                "/file",
                f"The job was trained on arrays of shape {network.training.input_shape}, but the "
                f"file is a table ({format_.title}): send npz, or pictures if it learned from "
                "them.",
            )
        return _of_table(path, file, network, with_targets=with_targets)
    assert task.scratch is not None  # noqa: S101 - each operation has one
    names = format_.unpack(
        path, task.scratch, file, max_bytes=task.max_bytes, with_targets=with_targets
    )
    return _of_arrays(task.scratch, network, names, with_targets=with_targets)


def _of_table(
    path: Path, file: UploadedFile, network: TrainedNetwork, *, with_targets: bool = False
) -> Examples:
    """Rows of a file with the columns of the job's table, found by their names."""
    from batchgrad_service.reading.formats.format import TableFormat  # noqa: PLC0415
    from batchgrad_service.reading.formats.recognition import recognised  # noqa: PLC0415
    from batchgrad_service.reading.formats.registry import FORMATS  # noqa: PLC0415
    from batchgrad_service.reading.rows import conformed, ignored  # noqa: PLC0415

    table = network.table
    format_ = FORMATS[recognised(path, file)]
    assert table is not None  # noqa: S101 - callers have looked
    assert isinstance(format_, TableFormat)  # noqa: S101
    source = format_.open(path, file)
    found = Examples(network, iter(()), source.rows)
    found.id_name = next((x.name for x in table.columns if x.role == "id"), "id")
    if unused := ignored(source, table):
        found.warnings.append(f"Columns that the job does not know were not used: {_few(unused)}.")

    def batches() -> Iterator[Batch]:
        gaps, unknown = np.zeros((2, len(table.inputs)), np.int64)
        for rows in conformed(source, table, file.text, with_targets=with_targets):
            more_gaps, more_unknown = network.unfamiliar(rows.inputs)
            gaps += more_gaps
            unknown += more_unknown
            yield Batch(rows.inputs, rows.targets, rows.weights, rows.ids)
        found.warnings.extend(_unfamiliar(network, gaps, unknown))

    found.batches = batches()
    return found


def _of_dataset(
    stored: StoredDataset, network: TrainedNetwork, rows_of: RowSet | None, *, with_targets: bool
) -> Examples:
    """Rows of a stored dataset; of the job's own one, perhaps of one set alone."""
    if stored.table is not None:
        network = network.of_table(stored.table)
    if with_targets:
        classes = network.training.classes
        _check_classes(stored.class_names, classes, "/dataset", "rows")
        stored = stored.renumbered(classes)
    rows: Integers = np.arange(len(stored.inputs))
    if rows_of is not None:
        split = job_sampler(network.spec, stored).split
        rows = {"training": split.training, "validation": split.validation, "test": split.test}[
            rows_of
        ]
        if not len(rows):
            raise InvalidError.field("/set", _no_rows(network, rows_of))
    return Examples(network, _stored_batches(stored, network, rows), len(rows))


def _stored_batches(
    stored: StoredDataset, network: TrainedNetwork, rows: Integers
) -> Iterator[Batch]:
    size = max(1, BATCH_NUMBERS // max(1, stored.inputs[:1].size))
    for start in range(0, len(rows), size):
        ids = rows[start : start + size]
        inputs = stored.inputs[ids]
        if stored.table is None:
            network.check(inputs, start)
        yield Batch(
            inputs,
            stored.targets[ids],
            None if stored.weights is None else stored.weights[ids],
            None if stored.ids is None else stored.ids[ids],
        )


def _of_arrays(
    directory: Path, network: TrainedNetwork, names: list[str] | None, *, with_targets: bool
) -> Examples:
    """Arrays that were unpacked; their classes are numbers, or have names."""
    arrays: dict[str, Any] = {
        file.stem: np.load(file, mmap_mode="r") for file in directory.glob("*.npy")
    }
    inputs = arrays["inputs"]
    targets = arrays.get("targets") if with_targets else None
    if targets is not None and names is not None:
        targets = _renumbered(targets, names, network.training.classes)

    def batches() -> Iterator[Batch]:
        size = max(1, BATCH_NUMBERS // max(1, inputs[:1].size))
        for start in range(0, len(inputs), size):
            part = slice(start, start + size)
            network.check(inputs[part], start)
            yield Batch(
                np.asarray(inputs[part]),
                None if targets is None else np.asarray(targets[part]),
                arrays["weights"][part] if with_targets and "weights" in arrays else None,
                arrays["ids"][part] if "ids" in arrays else None,
            )

    return Examples(network, batches(), len(inputs))


def _renumbered(targets: AnyArray, names: list[str], classes: list[str] | None) -> AnyArray:
    """Class numbers of `names` as those of the job's `classes`."""
    if classes is None:
        return targets
    _check_classes(names, classes, "/file", "pictures")
    return np.array([classes.index(name) for name in names])[targets]


def _check_classes(
    names: list[str] | None, classes: list[str] | None, pointer: str, what: str
) -> None:
    """Raise InvalidError if one of `names` is none of the job's `classes`."""
    unknown = [name for name in names or () if name not in (classes or names or ())]
    if unknown:
        raise InvalidError.field(
            pointer,
            f"The class {unknown[0]!r} is none of the job's: {_few(classes or [])}. Remove its "
            f"{what}.",
        )


def _unfamiliar(network: TrainedNetwork, gaps: Integers, unknown: Integers) -> Iterator[str]:
    table = network.table
    if table is None:
        return
    for index, column in enumerate(table.inputs):
        if gaps[index]:
            yield (
                f"Column {column.name} has {gaps[index]} gaps, but the job's training rows had "
                f"none: they count as {gap_filling(column, table.constant)}."
            )
        if unknown[index]:
            yield (
                f"Column {column.name} has {unknown[index]} values that no training row had: they "
                "count as no category, or as `other` if there were rare ones."
            )


def _no_rows(network: TrainedNetwork, rows_of: RowSet) -> str:
    if rows_of == "test":
        return (
            "The job has no test rows: it has them with validation: {rows: COLUMN}. Name a "
            "dataset or a file."
        )
    rule = network.spec.validation
    if rule is not None and rule.dataset is not None:
        return f"The job validates on dataset {rule.dataset}: name it as the dataset."
    return "The job has no validation rows: name a dataset or a file."


def _few(names: list[str]) -> str:
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(names[:10]) + more
