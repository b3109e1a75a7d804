"""The example ledger on disk: columns ledger/NAME, in its own file or in a checkpoint."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from batchgrad_engine.checkpoints.checkpoints import METADATA_KEY
from batchgrad_engine.checkpoints.example_ledger import COLUMNS, LedgerColumns
from batchgrad_engine.messages import LEDGER_FILE
from batchgrad_workers.arrays import Integers


class NoLedger(Exception):
    """The file does not exist, is torn, or holds no ledger."""


class LedgerFile:
    """A ledger or checkpoint file; reads only the columns that are requested.

    Stays readable if the file is replaced or removed meanwhile.
    """

    def __init__(self, path: Path) -> None:
        """Open `path`.

        Raises:
            NoLedger: it holds no ledger.
        """
        self._file = _open(path)
        metadata = (self._file.metadata() or {}).get(METADATA_KEY)
        if metadata is None or not {f"ledger/{name}" for name in COLUMNS} <= set(self._file.keys()):
            raise NoLedger(f"{path.name} holds no ledger.")
        self.step: int = json.loads(metadata)["step"]

    def __len__(self) -> int:
        """How many examples the dataset has."""
        return int(self._file.get_slice("ledger/times_seen").get_shape()[0])

    def column(self, name: str, rows: slice = slice(None)) -> npt.NDArray[Any]:
        """Read these rows of one of COLUMNS, which have one entry per example of the dataset."""
        return self._file.get_slice(f"ledger/{name}")[rows]

    def at(self, name: str, examples: Integers) -> npt.NDArray[Any]:
        """Read one of COLUMNS for a few examples (n,)."""
        parts = [self.column(name, slice(example, example + 1)) for example in examples.tolist()]
        return np.concatenate(parts or [self.column(name, slice(0))])


def _open(path: Path) -> Any:
    try:
        return safe_open(path, "numpy")
    except (OSError, SafetensorError) as error:
        raise NoLedger(f"{path.name} can't be read: {error}") from error


def write(directory: Path, step: int, columns: LedgerColumns) -> None:
    """Replace the ledger file in `directory` atomically, by the ledger after `step` steps.

    The file is not synced: after a power cut, the checkpoints have the ledger.
    """
    path = directory / LEDGER_FILE
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        tensors = {f"ledger/{name}": column for name, column in columns.items()}
        save_file(tensors, temporary, {METADATA_KEY: json.dumps({"step": step})})
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)
