"""Check that a dataset's content can be trained on, and describe it.

n example; inputs (n, …), targets classes (n,) or values (n,) or (n, out), weights (n,), units (n,).
Where there are other arrays (n, …), inputs and targets may have any shape (n, …) too, or be absent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from batchgrad.contract import ArrayInfo, Table
from batchgrad_service.problems import InvalidError
from batchgrad_service.validation.labels import negative_classes_hint
from batchgrad_workers.data.dataset import SPLIT_SETS, StoredDataset, stored_arrays
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

_SETS = ", ".join(f"{number} {name}" for number, name in enumerate(SPLIT_SETS))
_Array = npt.NDArray[Any]
TargetKind = Literal["classes", "values"]


@dataclass(frozen=True)
class Content:
    """A description of a dataset's arrays."""

    digest: str
    examples: int
    input_shape: list[int] | None
    input_dtype: str | None
    target_kind: TargetKind | None
    classes: int | None
    weighted: bool
    bytes: int
    table: Table | None
    arrays: list[ArrayInfo]


def inspect(directory: Path) -> Content:
    """Check the stored arrays in `directory`, chunk by chunk, and describe them.

    Raises:
        InvalidError: rows that do not match, non-finite numbers, negative classes or weights.
    """
    stored = StoredDataset.open(directory)
    arrays = stored_arrays(directory)
    inputs = stored.arrays.get("inputs")
    for_layers = stored.arrays.keys() <= {"inputs", "targets"}
    if for_layers:
        _check_inputs(stored.inputs)
    _check_rows(arrays, stored)
    numbers = arrays.keys() - ({"inputs", "table"} if stored.table is not None else set())
    for name in arrays:  # in the columns of a table NaN is a gap
        if name in numbers:
            _refuse_non_finite(name, arrays[name])
    kind, classes = _layers_targets(stored, strict=for_layers)
    if stored.class_names is not None:
        classes = len(stored.class_names)
    if stored.weights is not None:
        _check_weights(stored.weights)
    if stored.units is not None:
        _check_units(stored.units)
    if stored.split is not None:
        _check_split(stored.split)
    return Content(
        digest=digest(arrays),
        examples=len(stored),
        input_shape=None if inputs is None else list(stored.input_shape),
        input_dtype=None if inputs is None else inputs.dtype.name,
        target_kind=kind,
        classes=classes,
        weighted=stored.weights is not None,
        bytes=sum(array.nbytes for array in arrays.values()),
        table=stored.table or _names_alone(stored.class_names),
        arrays=listed(stored),
    )


def listed(stored: StoredDataset) -> list[ArrayInfo]:
    """The arrays that a model may see."""
    return [
        ArrayInfo(name=name, dtype=array.dtype.name, shape=list(array.shape))
        for name, array in stored.arrays.items()
    ]


def _names_alone(classes: list[str] | None) -> Table | None:
    return None if classes is None else Table(columns=[], classes=classes)


def _check_inputs(inputs: _Array) -> None:
    if inputs.ndim < 2:
        raise InvalidError.field(
            "/inputs",
            f"inputs has shape {list(inputs.shape)}; expected one row per example, (n, …): "
            "inputs.reshape(-1, 1) makes rows of single numbers.",
        )


def _check_rows(arrays: Mapping[str, _Array], stored: StoredDataset) -> None:
    first = next(iter(stored.arrays))
    for name, array in arrays.items():
        if name != "table" and len(array) != len(stored):
            shape = f" of shape {list(array.shape)}" if name not in _EACH else ""
            raise InvalidError.field(
                f"/{name}",
                f"{name}{shape} has {len(array)} rows, {first} has {len(stored)}: each example "
                f"needs {_EACH.get(name, 'one row of each array')}.",
            )


def _layers_targets(stored: StoredDataset, *, strict: bool) -> tuple[TargetKind | None, int | None]:
    """The kind of targets, and the number of classes, for a network of layers.

    None if it cannot be trained on them, which is no error unless `strict`.
    """
    inputs = stored.arrays.get("inputs")
    if inputs is None or inputs.ndim < 2 or "targets" not in stored.arrays:
        return None, None
    try:
        classes = _count_classes(stored.targets)
    except InvalidError:
        if strict:
            raise
        return None, None
    return ("values" if classes is None else "classes"), classes


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
            f"floats: {_remedy(targets)}; for a PyTorch model give the array another name, labels "
            "for example.",
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


def _check_split(split: _Array) -> None:
    if split.ndim != 1 or split.dtype.kind not in "iu":
        raise InvalidError.field(
            "/split",
            f"split is {split.dtype} of shape {list(split.shape)}; expected an integer for each "
            f"example, (n,): {_SETS}.",
        )
    _refuse_where("split", split, lambda chunk: (chunk < 0) | (chunk >= len(SPLIT_SETS)), _SETS)


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
