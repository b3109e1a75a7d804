"""Write a .npy file piece by piece, its shape being known."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from batchgrad_service.datasets.npy_headers import write_header


class NpyWriter:
    """Takes rows until there are `shape[0]`; `array_bytes` without the header."""

    def __init__(self, file: Any, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> None:
        self._file = file
        self._dtype = np.dtype(dtype)
        write_header(file, self._dtype, shape)

    def add(self, rows: npt.NDArray[Any]) -> None:
        """Append rows (n, …)."""
        self._file.write(np.ascontiguousarray(rows, self._dtype).data)


@contextmanager
def new_npy(path: Path, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> Iterator[NpyWriter]:
    """Create the file at `path`, and yield its writer."""
    with path.open("xb") as file:
        yield NpyWriter(file, dtype, shape)
