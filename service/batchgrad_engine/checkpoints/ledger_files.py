"""The example ledger on disk: columns ledger/NAME, in a file of its own or in a checkpoint."""

import json
import os
from pathlib import Path
from typing import Any

import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from batchgrad_engine.checkpoints.example_ledger import COLUMNS, Columns
from batchgrad_engine.messages import LEDGER_FILE

KEY = "batchgrad"
"""Where safetensors' metadata hold the step, here as in a checkpoint."""


class NoLedger(Exception):
    """The file is not there, torn, or holds no ledger."""


class LedgerFile:
    """A ledger or checkpoint file; a column is read when it is asked for, nothing else is.

    It stays readable when the file is replaced or removed meanwhile.
    """

    def __init__(self, path: Path) -> None:
        """Open `path`.

        Raises:
            NoLedger: there is none in it.
        """
        self._file = _open(path)
        about = (self._file.metadata() or {}).get(KEY)
        if about is None or not {f"ledger/{name}" for name in COLUMNS} <= set(self._file.keys()):
            raise NoLedger(f"{path.name} holds no ledger.")
        self.step: int = json.loads(about)["step"]

    def column(self, name: str) -> npt.NDArray[Any]:
        """One of COLUMNS, an entry an example of the dataset."""
        return self._file.get_tensor(f"ledger/{name}")


def _open(path: Path) -> Any:
    try:
        return safe_open(path, "numpy")
    except (OSError, SafetensorError) as error:
        raise NoLedger(f"{path.name} can't be read: {error}") from error


def write(directory: Path, step: int, columns: Columns) -> None:
    """Put the ledger after `step` steps into `directory`: at once whole, in the old one's place.

    Not synced: after a power cut the checkpoints have it.
    """
    path = directory / LEDGER_FILE
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        tensors = {f"ledger/{name}": column for name, column in columns.items()}
        save_file(tensors, temporary, {KEY: json.dumps({"step": step})})
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)
