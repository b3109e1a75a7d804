"""Check that the dataset that a job validates on fits the one that it trains on."""

from math import prod

from batchgrad.contract import Dataset, JobSpec, Table
from batchgrad_service.problems import InvalidError, ProblemError
from batchgrad_service.validation.dataset import check_inputs, check_targets
from batchgrad_service.validation.job_data import StoredData, layers_shape
from batchgrad_workers.data.dataset import StoredDataset
from batchgrad_workers.data.tables.encoding import ACCEPTED
from batchgrad_workers.data.tables.fitting import gap_filling
from batchgrad_workers.nn.network import Network

_POINTER = "/validation/dataset"


def check_validation_dataset(
    spec: JobSpec, dataset: Dataset, other: StoredData, network: Network
) -> int:
    """Return the number of its examples with a weight above 0.

    Raises:
        InvalidError: its columns, inputs or targets are not those of `dataset`.
    """
    found = other.dataset
    shape, found_shape = layers_shape(dataset), layers_shape(found, _POINTER)
    own_columns, columns = (each.table.columns if each.table else [] for each in (dataset, found))
    if bool(own_columns) != bool(columns):
        is_table, is_not = (dataset, found) if own_columns else (found, dataset)
        raise InvalidError.field(
            _POINTER,
            f"Dataset {is_table.name} is a table, {is_not.name} has arrays: push both in the same "
            "way.",
        )
    if dataset.table is not None and found.table is not None:
        _check_columns(dataset.table, found.table, found.name)
    if not columns and shape != found_shape:
        raise InvalidError.field(
            _POINTER,
            f"Its inputs have shape {list(found_shape)}, those of dataset {dataset.name} have "
            f"{list(shape)}, {prod(shape)} numbers an example: give both "
            "the same shape.",
        )
    stored = StoredDataset.open(other.directory)
    try:
        check_inputs(spec, stored, network)
        check_targets(spec, found, stored.targets, network.outputs)
    except ProblemError as problem:
        raise InvalidError.field(_POINTER, f"Dataset {found.name}: {problem.detail}") from None
    weights = stored.weights
    return found.examples if weights is None else int((weights > 0).sum())


def validation_warnings(dataset: Dataset, other: Dataset) -> list[str]:
    """Texts and gaps of a validation table that no row of the job's own dataset has."""
    if dataset.table is None or other.table is None:
        return []
    columns = {column.name: column for column in other.table.columns}
    warnings = []
    for column in dataset.table.inputs:
        found = columns[column.name]
        unknown = sorted(set(found.categories or ()) - set(column.categories or ()))
        if unknown:
            more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
            warnings.append(
                f"Column {column.name!r} of dataset {other.name} has the text {unknown[0]!r:.100}"
                f"{more}, which dataset {dataset.name} lacks: the network gets it as rare "
                "categories, if there are any, else as no category."
            )
        if found.missing and not column.missing:
            filled = gap_filling(column, dataset.table.constant)
            warnings.append(
                f"Column {column.name!r} of dataset {other.name} has gaps in {found.missing} rows, "
                f"dataset {dataset.name} has none: the network gets {filled} there."
            )
    return warnings


def _check_columns(table: Table, other: Table, name: str) -> None:
    kinds = {column.name: column.kind for column in other.columns}
    for column in [*table.inputs, *table.targets]:
        if column.name not in kinds:
            raise InvalidError.field(
                _POINTER,
                f"Dataset {name} has no column {column.name!r}, which this job's dataset has: push "
                "it with the same columns.",
            )
        if column.role == "input" and kinds[column.name] not in ACCEPTED[column.kind]:
            raise InvalidError.field(
                _POINTER,
                f"Column {column.name!r} of dataset {name} is a {kinds[column.name]}, in this "
                f"job's dataset a {column.kind}: push it with --as {column.name}={column.kind}.",
            )
    unknown = sorted(set(other.classes or ()) - set(table.classes or ()))
    if unknown:
        raise InvalidError.field(
            _POINTER,
            f"Dataset {name} has the class {unknown[0]!r}, which this job's dataset does not have: "
            "remove its rows, or add such rows to the training data.",
        )
