"""Check that a dataset's content can be trained on, and describe it.

n example; inputs (n, …), targets classes (n,) or values (n,) or (n, out), weights (n,), units (n,).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from batchgrad.contract import Table
from batchgrad_service.problems import InvalidError
from batchgrad_service.validation.labels import negative_classes_hint
from batchgrad_workers.data.dataset import StoredDataset, stored_arrays
from batchgrad_workers.digests import digest

_CHUNK_NUMBERS = 2**18
_MAX_CLASSES = 2**31
_SHOWN = 3
_EACH = {
    "targets": "one target",
    "weights": "one weight",
    "units": "one unit",
    "ids": "one id",
    "split": "one set",
}
"""What each example has of each array."""

_Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Content:
    """A description of a dataset's arrays."""

    digest: str
    examples: int
    input_shape: list[int]
    input_dtype: str
    target_kind: Literal["classes", "values"]
    classes: int | None
    weighted: bool
    bytes: int
    table: Table | None = None


def inspect(directory: Path) -> Content:
    """Check the stored arrays in `directory`, chunk by chunk, and describe them.

    Raises:
        InvalidError: rows that do not match, non-finite numbers, negative classes or weights.
    """
    stored = StoredDataset.open(directory)
    arrays = stored_arrays(directory)
    _check_rows({name: array for name, array in arrays.items() if name != "table"})
    numbers = {"targets", "weights"} | ({"inputs"} if stored.table is None else set())
    for name in arrays.keys() & numbers:  # in the columns of a table NaN is a gap
        _refuse_non_finite(name, arrays[name])
    classes = _count_classes(stored.targets)
    if stored.class_names is not None:
        classes = len(stored.class_names)
    if stored.weights is not None:
        _check_weights(stored.weights)
    if stored.units is not None:
        _check_units(stored.units)
    return Content(
        digest=digest(arrays),
        examples=len(stored.inputs),
        input_shape=list(stored.input_shape),
        input_dtype=stored.inputs.dtype.name,
        target_kind="values" if classes is None else "classes",
        classes=classes,
        weighted=stored.weights is not None,
        bytes=sum(array.nbytes for array in arrays.values()),
        table=stored.table or _names_alone(stored.class_names),
    )


def _names_alone(classes: list[str] | None) -> Table | None:
    return None if classes is None else Table(columns=[], classes=classes)


def _check_rows(arrays: dict[str, _Array]) -> None:
    inputs = arrays["inputs"]
    if inputs.ndim < 2:
        raise InvalidError.field(
            "/inputs",
            f"inputs has shape {list(inputs.shape)}; expected one row per example, (n, …): "
            "inputs.reshape(-1, 1) makes rows of single numbers.",
        )
    for name, one in _EACH.items():
        if name in arrays and len(arrays[name]) != len(inputs):
            raise InvalidError.field(
                f"/{name}",
                f"{name} has {len(arrays[name])} rows, inputs has {len(inputs)}: each example "
                f"needs {one}.",
            )


def _refuse_non_finite(name: str, array: _Array) -> None:
    if array.dtype.kind == "f":
        _refuse_where(
            name, array, lambda chunk: ~np.isfinite(chunk), "remove or repair such examples"
        )


def _count_classes(targets: _Array) -> int | None:
    """Return the number of classes (the highest class + 1), or None if targets are values."""
    if targets.dtype.kind == "f":
        if targets.ndim > 2:
            raise InvalidError.field(
                "/targets",
                f"targets has shape {list(targets.shape)}; expected values (n,) or (n, out): "
                "flatten each example's targets.",
            )
        return None
    if targets.ndim != 1:
        raise InvalidError.field(
            "/targets",
            f"targets are integers of shape {list(targets.shape)}; classes are (n,), numbers are "
            f"floats: {_remedy(targets)}.",
        )
    if targets.dtype.kind == "i" and targets.min() < 0:
        _refuse_where("targets", targets, lambda chunk: chunk < 0, negative_classes_hint(targets))
    highest = int(targets.max())
    if highest >= _MAX_CLASSES:
        raise InvalidError.field(
            "/targets",
            f"targets holds class {highest}; number classes 0, 1, 2, …, or give values as floats.",
        )
    return highest + 1


def _remedy(targets: _Array) -> str:
    """Return the numpy code that converts integer targets with more than one axis."""
    if targets.shape[1:] == (1,):
        return "targets.ravel() for classes, targets.astype('float32') for numbers"
    return "targets.argmax(1) for one-hot rows, targets.astype('float32') for numbers"


def _check_weights(weights: _Array) -> None:
    if weights.ndim != 1:
        raise InvalidError.field(
            "/weights", f"weights has shape {list(weights.shape)}; expected one per example, (n,)."
        )
    _refuse_where("weights", weights, lambda chunk: chunk < 0, "weights are 0 or more")
    if not weights.any():
        raise InvalidError.field(
            "/weights",
            "All weights are 0, so there is no mean: give at least one example a positive weight.",
        )


def _check_units(units: _Array) -> None:
    if units.ndim != 1 or units.dtype.kind not in "iu":
        raise InvalidError.field(
            "/units",
            f"units are {units.dtype} of shape {list(units.shape)}; expected an integer for each "
            "example, (n,), the same for rows that belong together: "
            "numpy.unique(units, return_inverse=True)[1] numbers them.",
        )


def _refuse_where(name: str, array: _Array, wrong: Any, remedy: str) -> None:
    flat = array.reshape(-1)  # a view: stored arrays are in C order
    for start in range(0, flat.size, _CHUNK_NUMBERS):
        chunk = flat[start : start + _CHUNK_NUMBERS]
        found = np.flatnonzero(wrong(chunk))
        if not len(found):
            continue
        shown = []
        for index in found[:_SHOWN]:
            where = ", ".join(str(i) for i in np.unravel_index(start + index, array.shape))
            shown.append(f"{name}[{where}] is {chunk[index]}")
        more = ", among others" if len(found) > _SHOWN else ""
        raise InvalidError.field(f"/{name}", f"{'; '.join(shown)}{more}: {remedy}.")
