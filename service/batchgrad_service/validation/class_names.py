"""Name classes in messages: by number, and by name where a dataset has names for them."""

from collections.abc import Sequence

from batchgrad.contract import Dataset
from batchgrad.parsing.wording import listed


def names_of(dataset: Dataset) -> list[str] | None:
    """The names of the dataset's classes 0, 1, …, None if they have none."""
    return dataset.table.classes if dataset.table is not None else None


def named(label: int, names: Sequence[str] | None) -> str:
    """A class: `3`, or `3 (setosa)`."""
    return str(label) if names is None else f"{label} ({names[label]})"


def range_of(classes: int, names: Sequence[str] | None) -> str:
    """All classes: `0 to 2`, or `other, setosa, virginica`."""
    if names is None:
        return f"0 to {classes - 1}"
    return listed(names)
