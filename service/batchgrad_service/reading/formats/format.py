"""The interface of a format of files: a reader of tables, or of arrays."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from batchgrad.contract import UploadedFile
from batchgrad_service.datasets.npz import Purpose
from batchgrad_service.reading.table_source import TableSource


@dataclass(frozen=True)
class TableFormat:
    """A format of tables. `open` raises InvalidError, as do the source's methods."""

    title: str
    open: Callable[[Path, UploadedFile], TableSource]


class Unpack(Protocol):
    """Write a file's arrays to .npy files: inputs, targets, and so on."""

    def __call__(
        self,
        path: Path,
        directory: Path,
        file: UploadedFile,
        /,
        *,
        max_bytes: int,
        purpose: Purpose = "dataset",
    ) -> list[str] | None:
        """Return the classes' names, None if they have none.

        For a prediction the file may hold inputs alone.

        Raises:
            InvalidError: the file is damaged, or not what is expected.
            TooLargeError: the arrays hold more than `max_bytes` together.
            OSError: the disk does not take them.
        """
        ...


@dataclass(frozen=True)
class ArrayFormat:
    """A format of arrays."""

    title: str
    unpack: Unpack


Format = TableFormat | ArrayFormat
