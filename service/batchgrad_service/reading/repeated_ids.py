"""Find names of rows that several rows have."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from batchgrad.contract.tables import Table

MOST_BYTES = 2**26
"""Of ids; more are not compared: sorting them would take too much memory."""


def repeated_ids(directory: Path, table: Table) -> Iterator[str]:
    """Warn of names that are not unique."""
    file = directory / "ids.npy"
    if not file.exists():
        return
    ids = np.load(file, mmap_mode="r")
    if ids.nbytes > MOST_BYTES:
        return
    names, counts = np.unique(ids, return_counts=True)
    repeated = np.flatnonzero(counts > 1)
    if not len(repeated):
        return
    column = next(column.name for column in table.columns if column.role == "id")
    first = names[repeated[0]].decode()
    yield (
        f"--id {column}: {len(repeated)} names are those of several rows, {first!r} of "
        f"{counts[repeated[0]]}: rows cannot be told apart by them. If they name what rows belong "
        f"to, a person for example: --units {column}."
    )
