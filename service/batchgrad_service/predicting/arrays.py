"""Batches of arrays: of a stored dataset, and of a file's arrays that were unpacked."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from batchgrad.contract import RowSet
from batchgrad.parsing.wording import listed
from batchgrad_engine.training.sampling import job_sampler
from batchgrad_service.predicting.batches import Batch, OpenedExamples
from batchgrad_service.predicting.tasks import SAMPLED, DatasetData
from batchgrad_service.predicting.trained_network import TrainedNetwork
from batchgrad_service.problems import InvalidError
from batchgrad_workers.arrays import Integers
from batchgrad_workers.data.dataset import AnyArray, LacksArray, StoredDataset

BATCH_NUMBERS = 2**20
"""Most input numbers in a batch: 8 MB as float64."""


def of_dataset(data: DatasetData, network: TrainedNetwork, *, with_targets: bool) -> OpenedExamples:
    """Rows of a stored dataset; of the job's own one, perhaps of one set alone.

    Raises:
        InvalidError: they do not fit the network, or the set is empty.
    """
    stored = StoredDataset.open(data.directory)
    if stored.table is not None:
        network = network.of_table(stored.table)
    if with_targets:
        classes = network.training.classes
        _check_classes(stored.class_names, classes, "/dataset", "rows")
        stored = stored.renumbered(classes)
    rows = _rows(data, stored, network)
    count = len(rows)
    if data.sampled:
        rows = _sampled(rows)
    try:
        arrays = {name: getattr(stored, name) for name in _wanted(with_targets=with_targets)}
    except LacksArray as error:
        raise InvalidError.field(
            "/dataset", f"{error} Name another dataset, or push it with arrays of these names."
        ) from None
    batches = _batches(arrays, rows, network, is_table=stored.table is not None)
    return OpenedExamples(network, batches, count, numbers=rows)


def of_unpacked(
    directory: Path, network: TrainedNetwork, names: list[str] | None, *, with_targets: bool
) -> OpenedExamples:
    """Arrays of a file that was unpacked; their classes are numbers, or have `names`.

    Raises:
        InvalidError: they do not fit the network.
    """
    wanted = _wanted(with_targets=with_targets)
    files = {name: directory / f"{name}.npy" for name in wanted}
    arrays = {name: np.load(file, mmap_mode="r") for name, file in files.items() if file.exists()}
    if "targets" in arrays and names is not None:
        arrays["targets"] = _renumbered(arrays["targets"], names, network.training.classes)
    rows = range(len(arrays["inputs"]))
    return OpenedExamples(network, _batches(arrays, rows, network, is_table=False), len(rows))


def _rows(data: DatasetData, stored: StoredDataset, network: TrainedNetwork) -> Integers | range:
    """The numbers of the rows. Raises InvalidError."""
    if data.examples is not None:
        beyond = [row for row in data.examples if not 0 <= row < len(stored)]
        if beyond:
            raise InvalidError(
                f"There is no example {beyond[0]}: the dataset has examples 0 to {len(stored) - 1}."
            )
        return np.array(data.examples, np.int64)
    rows: Integers | range = range(len(stored))
    if data.set is not None:
        rows = job_sampler(network.spec, stored).split.rows_of(data.set)
        if not len(rows):
            raise InvalidError.field("/set", _no_rows(network, data.set))
    return rows


def _sampled(rows: Integers | range) -> Integers:
    order = np.random.default_rng(0).choice(len(rows), min(SAMPLED, len(rows)), replace=False)
    return order if isinstance(rows, range) else rows[order]


def _wanted(*, with_targets: bool) -> tuple[str, ...]:
    """The names of the arrays of a Batch."""
    return ("inputs", "ids", "targets", "weights") if with_targets else ("inputs", "ids")


def _batches(
    arrays: Mapping[str, Any], rows: Integers | range, network: TrainedNetwork, *, is_table: bool
) -> Iterator[Batch]:
    present = {name: array for name, array in arrays.items() if array is not None}
    size = max(1, BATCH_NUMBERS // max(1, present["inputs"][:1].size))
    for start in range(0, len(rows), size):
        part: Any = rows[start : start + size]
        if isinstance(part, range):
            part = slice(part.start, part.stop)  # a view, without a list of numbers
        batch = Batch(**{name: np.asarray(array[part]) for name, array in present.items()})
        if not is_table:
            network.check(batch.inputs, start)
        yield batch


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
    if names is None or classes is None:
        return
    unknown = [name for name in names if name not in classes]
    if unknown:
        raise InvalidError.field(
            pointer,
            f"The class {unknown[0]!r} is none of the job's: {listed(classes)}. Remove its {what}.",
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
