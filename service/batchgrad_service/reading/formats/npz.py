"""Read npz files, and zips of NAME.npy, which are the same."""

from pathlib import Path

from batchgrad.contract import UploadedFile
from batchgrad_service.datasets.npz import Purpose, unpack


def unpack_npz(
    path: Path,
    directory: Path,
    _file: UploadedFile,
    *,
    max_bytes: int,
    purpose: Purpose = "dataset",
) -> None:
    """Write the arrays to .npy files; classes have no names. Raises as `Unpack` does."""
    unpack(path, directory, max_bytes=max_bytes, purpose=purpose)
