"""Bunches of scikit-learn, as its fetch and load functions return them."""

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from batchgrad.data.arrays import from_arrays
from batchgrad.data.frames import from_pandas
from batchgrad.data.source import Source, temporary_file
from batchgrad.errors import InvalidArgument

_MOST_COLUMNS = 1000
"""Of a table: wider data, such as pictures, become arrays."""


@contextmanager
def from_bunch(bunch: Any) -> Iterator[Source]:
    """A bunch's frame; else its data with the names of columns and classes, or as arrays."""
    frame, names = bunch.get("frame"), _names(bunch.get("feature_names"))
    if bunch.get("data") is None or bunch.get("target") is None:
        raise InvalidArgument(
            f"data is a bunch with {', '.join(map(str, bunch)) or 'nothing'}; expected data and "
            "target."
        )
    if frame is not None:
        target = _target(bunch)
        with from_pandas(_with_class_names(frame, bunch)) as source:
            yield Source(source.file, source.name, source.format, {"target": target})
    elif names and _is_table(bunch, len(names)):
        with temporary_file() as file:
            _write(file, bunch, names)
            yield Source(file, "bunch.csv", "csv", {"target": "target"})
    else:
        with from_arrays({"inputs": bunch["data"], "targets": bunch["target"]}) as source:
            yield source


def _is_table(bunch: Any, columns: int) -> bool:
    """Whether data are a dense array with these columns, and there is one target for each row."""
    arrays = (bunch["data"], bunch["target"])
    if columns > _MOST_COLUMNS or not all(hasattr(array, "tolist") for array in arrays):
        return False
    return bunch["data"].shape == (*bunch["target"].shape, columns)


def _names(names: Any) -> list[str]:
    return [] if names is None else [str(name) for name in names]


def _target(bunch: Any) -> str | list[str]:
    """The column or columns of the target in the frame."""
    target = bunch["target"]
    return [str(name) for name in target.columns] if hasattr(target, "columns") else target.name


def _with_class_names(frame: Any, bunch: Any) -> Any:
    """The frame, with the names of classes as targets if they have some."""
    target, classes = bunch["target"], _names(bunch.get("target_names"))
    if hasattr(target, "columns") or not _are_classes(target, classes):
        return frame
    return frame.assign(**{target.name: [classes[number] for number in target.tolist()]})


def _are_classes(target: Any, names: list[str]) -> bool:
    """Whether targets are numbers of classes with these names."""
    return getattr(target.dtype, "kind", "") in "iu" and len(names) > 1


def _write(file: Any, bunch: Any, names: list[str]) -> None:
    """Write a CSV file with a column `target`, in which classes have their names."""
    classes = _names(bunch.get("target_names"))
    text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow([*names, "target"])
    whole = _are_classes(bunch["target"], classes)
    for values, target in zip(bunch["data"], bunch["target"].tolist(), strict=True):
        rows.writerow([*values.tolist(), classes[target] if whole else target])
    text.detach()
