"""The example ledger on disk: columns ledger/NAME, in a file of its own or in a checkpoint."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from batchgrad_service.engine.ledger import COLUMNS, Columns
from batchgrad_service.engine.messages import LEDGER_FILE

KEY = "batchgrad"
"""Where safetensors' metadata hold the step, here as in a checkpoint."""


class NoLedger(Exception):
    """The file is not there, torn, or holds no ledger."""


class LedgerFile:
    """An open file; a column is read when it is asked for, nothing else is."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.step: int = json.loads((file.metadata() or {})[KEY])["step"]

    def column(self, name: str) -> npt.NDArray[Any]:
        """One column, an entry an example of the dataset."""
        return self._file.get_tensor(f"ledger/{name}")


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


@contextmanager
def opened(path: Path) -> Iterator[LedgerFile]:
    """A ledger or checkpoint file, to read columns from; it may be replaced meanwhile.

    Raises:
        NoLedger: there is none in it.
    """
    try:
        with safe_open(path, "numpy") as file:
            if not {f"ledger/{name}" for name in COLUMNS} <= set(file.keys()):
                raise NoLedger(f"{path.name} holds no ledger.")
            yield LedgerFile(file)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise NoLedger(f"{path.name} can't be read: {error}") from error
