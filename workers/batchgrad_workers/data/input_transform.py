"""The transform of stored rows into the inputs of a job's network."""

from typing import Any, TypeAlias

import numpy.typing as npt

from batchgrad.contract import Table
from batchgrad_workers.arrays import Integers
from batchgrad_workers.data.standardization import Standardization
from batchgrad_workers.data.tables.encoding import TableEncoding
from batchgrad_workers.data.tables.fitting import fit_encoding

InputTransform: TypeAlias = Standardization | TableEncoding
"""`apply(rows, dtype)` gives the network's inputs; a table's rows always need an encoding."""


def fit_transform(
    inputs: npt.NDArray[Any], table: Table | None, rows: Integers, *, standardize: bool
) -> InputTransform | None:
    """The transform by the statistics of the training rows `inputs[rows]`; None if there is none.

    `table` describes the columns of `inputs`, if they are a table's.
    """
    if table is not None:
        return fit_encoding(table, inputs, rows, standardize=standardize)
    return Standardization.of(inputs, rows) if standardize else None


def standardization_of(transform: InputTransform | None) -> Standardization | None:
    """Mean and deviation of the network's inputs; None if none of them is standardized."""
    return transform.standardization if isinstance(transform, TableEncoding) else transform


def unstandardized(transform: InputTransform) -> InputTransform | None:
    """What remains to be done to rows if something else standardizes the inputs."""
    return transform.unstandardized() if isinstance(transform, TableEncoding) else None


def name_of_input(transform: InputTransform | None, index: int) -> str:
    """Name an input in a message: "input 3", or "input 3 (age)" of a table."""
    name = f" ({transform.names[index]})" if isinstance(transform, TableEncoding) else ""
    return f"input {index}{name}"
