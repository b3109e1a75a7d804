"""A dataset that is not on this host, and a server that has it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from batchgrad_workers.data.source import DatasetSource, open_dataset
from batchgrad_workers.data.transfers import DatasetUnavailable
from batchgrad_workers.digests import digest
from tests.workers.file_server import SECRET

PATIENCE_SECONDS = 30
ARRAYS: dict[str, Any] = {
    "inputs": np.arange(90_000, dtype=np.float32).reshape(300, 300),
    "targets": np.arange(300) % 3,
    "weights": np.linspace(0, 1, 300),
}


def stored(directory: Path, arrays: dict[str, Any] = ARRAYS) -> Path:
    directory.mkdir()
    for name, array in arrays.items():
        np.save(directory / f"{name}.npy", array)
    return directory


def source_of(directory: Path, *urls: str, arrays: dict[str, Any] = ARRAYS) -> DatasetSource:
    """A dataset of another host: the files are in `directory`, the path does not exist here."""
    root = directory.parent
    return DatasetSource(
        path=root / "not-here",
        digest=digest(arrays),
        files={name: (directory / f"{name}.npy").stat().st_size for name in arrays},
        urls=urls,
        secret=SECRET,
        cache_directory=root / "cache",
    )


def as_json(source: DatasetSource) -> str:
    """For another process."""
    return TypeAdapter(DatasetSource).dump_json(source).decode()


def entry(source: DatasetSource) -> Path:
    assert source.cache_directory is not None
    [root] = source.cache_directory.glob("batchgrad-datasets-*")
    return root / source.digest.removeprefix("sha256:")


def open_in_vain(source: DatasetSource) -> str:
    with pytest.raises(DatasetUnavailable) as caught:
        open_dataset(source, {})
    assert not [path for path in entry(source).iterdir() if path.is_dir()]
    message = str(caught.value)
    assert source.digest in message
    assert "\n" not in message
    return message


def flip(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
