"""A stored dataset, mapped into memory, and its rows as a network's inputs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from errno import ENOENT
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from batchgrad.contract import Table
from batchgrad_workers.arrays import Shape

AnyArray = npt.NDArray[Any]

ARRAYS = ("inputs", "targets", "weights", "units", "ids", "split", "table")
"""Arrays NAME.npy with a meaning of their own, the first ones in a content's digest."""

ABOUT_EXAMPLES = frozenset(ARRAYS[2:])
"""Those that say something about examples, and that no model sees."""

SPLIT_SETS = ("training", "validation", "test")
"""What 0, 1 and 2 in `split` mean."""


_ONE_HEADER_AT_A_TIME = Lock()
"""numpy parses headers by `ast`, which raises SystemError now and then if two threads parse."""


class LacksArray(ValueError):
    """A dataset of named arrays has none of this name."""


@dataclass(frozen=True)
class StoredDataset:
    """The arrays (n, …) that a model may see, by name, and what is known of their n examples.

    A network of layers trains on inputs (n, …) and targets (n,) or (n, out); other models read
    arrays of any names. weights (n,) or None.

    units (n,) are integers: rows with the same one belong together, to a person for example.
    ids (n,) are UTF-8 texts, as bytes of one length. split (n,) has 0, 1 or 2, see SPLIT_SETS.
    table: the inputs are its columns, None if they are not a table's. class_names are those of the
    classes 0, 1, …, None if they have none. Both are in table.npy, the contract's Table as JSON.
    """

    arrays: Mapping[str, AnyArray]
    weights: AnyArray | None = None
    units: AnyArray | None = None
    ids: AnyArray | None = None
    split: AnyArray | None = None
    table: Table | None = None
    class_names: list[str] | None = None

    @classmethod
    def open(cls, directory: Path, names: Iterable[str] = ()) -> "StoredDataset":
        """Map the .npy files in `directory`: those of `names`, or all. Raises FileNotFoundError."""
        arrays = _mapped_all(directory, names or stored_names(directory))
        table = stored_table(directory) if "table" in arrays else None
        return cls(
            {name: array for name, array in arrays.items() if name not in ABOUT_EXAMPLES},
            weights=arrays.get("weights"),
            units=arrays.get("units"),
            ids=arrays.get("ids"),
            split=arrays.get("split"),
            table=table if table and table.columns else None,
            class_names=table.classes if table else None,
        )

    def __len__(self) -> int:
        """n, the number of examples, those of weight 0 included."""
        return len(next(iter(self.arrays.values())))

    @property
    def inputs(self) -> AnyArray:
        """(n, …). Raises LacksArray."""
        return self._array("inputs")

    @property
    def targets(self) -> AnyArray:
        """(n,) or (n, out). Raises LacksArray."""
        return self._array("targets")

    def _array(self, name: str) -> AnyArray:
        try:
            return self.arrays[name]
        except KeyError:
            raise LacksArray(
                f"The dataset has the arrays {', '.join(self.arrays)}, but no {name}, which a "
                "network of layers needs."
            ) from None

    def renumbered(self, classes: list[str] | None) -> "StoredDataset":
        """The same rows with the numbers of `classes`, by name; all of the dataset's are in it."""
        own = self.class_names
        if own is None or classes is None or own == classes:
            return self
        numbers = np.array([classes.index(name) for name in own], np.int64)
        arrays = {**self.arrays, "targets": numbers[self.targets]}
        return replace(self, arrays=arrays, class_names=classes)

    def id_of(self, row: int) -> str | None:
        """The id of a row; None if the rows have no ids."""
        return None if self.ids is None else self.ids[row].decode()

    @property
    def input_shape(self) -> Shape:
        """The shape of an example's inputs, as the network gets them."""
        if self.table is None:
            return self.inputs.shape[1:]
        return (sum(len(column.inputs) for column in self.table.inputs),)


def stored_table(directory: Path) -> Table:
    """The columns and classes of a content. Raises FileNotFoundError if it has neither."""
    return Table.model_validate_json(_mapped(directory / "table.npy").tobytes())


def stored_names(directory: Path) -> list[str]:
    """The names of the content's arrays in `directory`, in the order of its digest.

    First those of ARRAYS, then the others by name. Raises FileNotFoundError if there are none.
    """
    found = {file.stem for file in directory.iterdir() if file.suffix == ".npy"}
    if found <= ABOUT_EXAMPLES:
        raise FileNotFoundError(ENOENT, "No array of examples is there", str(directory))
    return [name for name in ARRAYS if name in found] + sorted(found.difference(ARRAYS))


def stored_arrays(directory: Path) -> dict[str, AnyArray]:
    """Map the arrays of the content in `directory`, in the order of its digest."""
    return _mapped_all(directory, stored_names(directory))


def _mapped_all(directory: Path, names: Iterable[str]) -> dict[str, AnyArray]:
    return {name: _mapped(directory / f"{name}.npy") for name in names}


def _mapped(file: Path) -> AnyArray:
    """Map the array in a .npy file; a plain array, because numpy.memmap indexes slowly."""
    with _ONE_HEADER_AT_A_TIME:
        return np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))
