"""Files of parameters: formats by name, atomic writes, checks before overwriting."""

import os
import re
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal

from batchgrad.errors import FileFailed, InvalidArgument

ParametersFormat = Literal["safetensors", "npz"]
DownloadFormat = Literal["safetensors", "npz", "onnx", "torch"]
"""The service writes the first two; the client makes the others of safetensors."""

SUFFIXES: dict[str, DownloadFormat] = {
    "": "safetensors",
    ".safetensors": "safetensors",
    ".npz": "npz",
    ".onnx": "onnx",
    ".pt2": "torch",
}
CARD_FILE = "batchgrad.json"
"""The model card in a file of torch.export."""

_PRODUCER = b"\x12\x09batchgrad"
"""The name of the producer at the beginning of an ONNX model: field 2, 9 bytes."""

_PARAMETER = re.compile(r"(\d+|standardize|encoding|card)\.\w+\.npy")


def parameters_format(path: Path) -> DownloadFormat:
    """The format for a file's name; safetensors for a name without suffix.

    Raises:
        InvalidArgument: it is the suffix of another format.
    """
    found = SUFFIXES.get(path.suffix.lower())
    if found is None:
        raise InvalidArgument(
            f"{path} has the suffix of another format: name it "
            f"{path.with_suffix('.safetensors').name}, which safetensors.torch.load_file reads, or "
            f"{path.with_suffix('.npz').name}, or give the format. .onnx and .pt2 hold the network."
        )
    return found


def write_atomically(path: Path, content: bytes) -> None:
    """Write a whole file; see `new_file`."""
    with new_file(path) as file:
        file.write(content)


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file beside the target, renamed at the end: a broken download never looks complete.

    Raises:
        FileFailed: it cannot be written.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        partial = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
            mask = os.umask(0)  # mkstemp gives 0600; a download is an ordinary file
            os.umask(mask)
            partial.chmod(0o666 & ~mask)
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise FileFailed(f"{path} cannot be written: {error}.") from error


def check_new_file(path: Path, *, replace: bool) -> None:
    """Check that a file can be written.

    Raises:
        FileFailed: its folder does not exist, or the file does, and `replace` is false.
    """
    _check_folder(path)
    if path.exists() and not replace:
        raise FileFailed(
            f"{path} exists: nothing was overwritten. Choose another name, or say replace "
            "(--replace)."
        )


def check_target(path: Path) -> None:
    """Check that parameters can be written to a path and replace nothing but parameters.

    Raises:
        FileFailed: the folder does not exist, or the file exists and has other content.
    """
    try:
        _check_folder(path)
        replaces = path.is_file() and path.stat().st_size > 0 and not _holds_parameters(path)
    except OSError as error:
        raise FileFailed(f"{path} cannot be written: {error}.") from error
    if replaces:
        raise FileFailed(
            f"{path} exists and is not a file of parameters: nothing was overwritten. Choose "
            "another name, or move the file away."
        )


def _check_folder(path: Path) -> None:
    if not path.parent.is_dir():
        raise FileFailed(f"The folder {path.parent} does not exist: create it first.")
    if path.is_dir():
        raise FileFailed(f"{path} is a folder: name a file in it.")


def _holds_parameters(path: Path) -> bool:
    """Whether `download` may have written a file, in any of its formats."""
    if zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
            return all(map(_PARAMETER.fullmatch, names)) or any(
                name.endswith(CARD_FILE) for name in names
            )
        except zipfile.BadZipFile:
            return False
    with path.open("rb") as file:
        start = file.read(32)
    if _PRODUCER in start:
        return True
    length = int.from_bytes(start[:8], "little")  # of the header of safetensors, JSON
    return start[8:9] == b"{" and 8 + length <= path.stat().st_size
