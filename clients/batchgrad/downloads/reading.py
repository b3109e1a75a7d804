"""Read a download's model card and tensors: safetensors or npz, without numpy."""

import ast
import json
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from batchgrad.downloads.card import Card
from batchgrad.errors import FileFailed, InvalidArgument
from batchgrad.parsing import arguments

KEY = "batchgrad"
"""The key of the card in the metadata of a safetensors file."""

_WRONG = (
    *(ValueError, KeyError, TypeError, IndexError, SyntaxError, RecursionError),
    *(struct.error, zipfile.BadZipFile),
)
"""What reading a file of another kind may raise; pydantic's ValidationError is a ValueError."""

TYPES = {"F32": "float32", "F64": "float64"}


@dataclass(frozen=True)
class Tensor:
    """A parameter: its type (float32 or float64), its shape, and its little-endian bytes."""

    dtype: str
    shape: tuple[int, ...]
    content: memoryview


def read_card(file: str | Path | bytes) -> Card:
    """The model card in a file that `download` wrote, or in its bytes.

    Raises:
        InvalidArgument: it is no such file.
        FileFailed: it can't be read.
    """
    with _explained():
        return Card.read(read_metadata(content_of(file)))


def read_metadata(content: bytes) -> Mapping[str, Any]:
    """The card in the bytes of a download, as the service wrote it.

    Raises:
        InvalidArgument: it is no such file.
    """
    with _explained():
        return _of_npz(content) if content[:2] == b"PK" else _header(content)[0]


def read_tensors(content: bytes) -> dict[str, Tensor]:
    """The parameters in the bytes of a safetensors file, by name.

    Raises:
        InvalidArgument: it is no such file.
    """
    with _explained():
        _, tensors = _header(content)
        body = memoryview(content)[8 + int.from_bytes(content[:8], "little") :]
        return {
            name: Tensor(
                TYPES[about["dtype"]],
                tuple(about["shape"]),
                body[slice(*about["data_offsets"])],
            )
            for name, about in tensors.items()
        }


def content_of(file: str | Path | bytes) -> bytes:
    """The bytes of a file, or those given.

    Raises:
        FileFailed: it can't be read.
    """
    if isinstance(file, bytes | bytearray | memoryview):
        return bytes(file)
    path = arguments.path("file", file)
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileFailed(f"{path} cannot be read: {error}.") from error


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what a wrong file raises into InvalidArgument."""
    try:
        yield
    except _WRONG as error:
        raise _no_download(error) from error


def _no_download(error: Exception) -> InvalidArgument:
    return InvalidArgument(
        f"The file is no download of batchgrad ({type(error).__name__}: {error!s:.200}): "
        "batchgrad download writes one, as safetensors or npz."
    )


def _header(content: bytes) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """The card's metadata and the tensors of a safetensors file's header."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    metadata = header.pop("__metadata__", {})
    return json.loads(metadata[KEY]), header


def _of_npz(content: bytes) -> Mapping[str, Any]:
    """The card's metadata, mean and deviation, or encoding, of an npz."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        arrays = {
            name.removesuffix(".npy"): archive.read(name)
            for name in archive.namelist()
            if name.startswith(("card.", "encoding.", "standardize."))
        }
        comment = archive.comment
    about = dict(json.loads(_bytes(arrays["card.json"]) if "card.json" in arrays else comment)[KEY])
    if "encoding.json" in arrays:
        about["encoding"] = json.loads(_bytes(arrays["encoding.json"]))
    if "standardize.mean" in arrays:
        about["standardization"] = {
            name: _numbers(arrays[f"standardize.{name}"]) for name in ("mean", "deviation")
        }
    return about


def _npy(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The header of a .npy file, and what follows."""
    end = 10 + int.from_bytes(content[8:10], "little")  # of version 1.0, as the service writes it
    return ast.literal_eval(content[10:end].decode()), content[end:]


def _bytes(content: bytes) -> bytes:
    return _npy(content)[1]


def _numbers(content: bytes) -> Any:
    """The numbers of a float64 array as nested lists."""
    header, body = _npy(content)
    flat = struct.unpack(f"<{len(body) // 8}d", body)
    return _nested(flat, header["shape"])


def _nested(flat: tuple[float, ...], shape: tuple[int, ...]) -> Any:
    if len(shape) <= 1:
        return list(flat)
    step = len(flat) // shape[0]
    return [_nested(flat[n * step : (n + 1) * step], shape[1:]) for n in range(shape[0])]
