"""Read npz files, and zips of inputs.npy, targets.npy and so on, which are the same."""

from pathlib import Path

from batchgrad.contract import UploadedFile
from batchgrad_service.datasets.npz import unpack


def unpack_npz(
    path: Path,
    directory: Path,
    _file: UploadedFile,
    *,
    max_bytes: int,
    with_targets: bool = True,
) -> None:
    """Write the arrays to .npy files; classes have no names. Raises as `Unpack` does."""
    unpack(path, directory, max_bytes=max_bytes, with_targets=with_targets)
