"""Unpacking an uploaded .npz without trusting a byte of it: no pickle, no surprise in size."""

import io
import struct
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.lib.format as npy

from batchgrad_service.problems import Invalid, TooLarge

ARRAYS = ("inputs", "targets", "weights")
_CHUNK_BYTES = 2**20
_MAX_READ_BYTES = 4 * _CHUNK_BYTES
_MAX_HEADER_BYTES = 2**16
_UNREADABLE = (ValueError, TypeError, SyntaxError, tokenize.TokenError, RecursionError, MemoryError)
_REMEDY = "numpy.savez(file, inputs=…, targets=…) makes what is expected"


class _CarefulFile(io.FileIO):
    """A file of which zipfile cannot be talked into reading much at once."""

    def read(self, size: int | None = -1) -> bytes:
        """Read, unless a forged archive directory claims to be huge."""
        if size is not None and size > _MAX_READ_BYTES:
            raise zipfile.BadZipFile(f"its directory claims {size} bytes")
        return super().read(-1 if size is None else size)


@dataclass(frozen=True)
class _Header:
    """A .npy header: C-order little-endian or not, decided by the flags."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    fortran_order: bool
    offset_bytes: int

    @property
    def array_bytes(self) -> int:
        return self.dtype.itemsize * prod(self.shape)


def unpack(archive: Path, into: Path, *, max_bytes: int) -> None:
    """Write the arrays of `archive` as C-order little-endian .npy files in the directory `into`.

    Raises:
        Invalid: not an npz, other arrays than expected, or dtypes that are not numbers.
        TooLarge: the arrays hold more than `max_bytes` together.
    """
    try:
        with _CarefulFile(archive) as file, zipfile.ZipFile(file) as unzipped:
            for name, member in _members(unzipped, max_bytes).items():
                with unzipped.open(member) as stream:
                    _unpack_array(name, stream, member.file_size, into / f"{name}.npy")
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError) as error:
        raise Invalid.field(
            "", f"This is not a readable npz ({error}); {_REMEDY}.", code="not_npz"
        ) from error


def _members(archive: zipfile.ZipFile, max_bytes: int) -> dict[str, zipfile.ZipInfo]:
    found: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy")
        if name in found:
            raise Invalid.field("", f"The npz holds {name} twice; {_REMEDY}.")
        if name == info.filename:
            raise Invalid.field("", f"The npz holds {name!r:.100}, which is no .npy; {_REMEDY}.")
        if name not in ARRAYS:
            raise Invalid.field(
                "",
                f"The npz holds {name!r:.100}, which is none of inputs, targets, weights: name the "
                "arrays so, as in numpy.savez(file, inputs=X, targets=y).",
            )
        if info.flag_bits & 1:
            raise Invalid.field(f"/{name}", f"{name} is encrypted; {_REMEDY}.")
        found[name] = info
    for name in ("inputs", "targets"):
        if name not in found:
            raise Invalid.field(
                f"/{name}", f"The npz holds {sorted(found) or 'nothing'}, not {name}; {_REMEDY}."
            )
    total = sum(info.file_size for info in found.values())
    if total > max_bytes:
        raise TooLarge(
            f"The npz unpacks to {total} bytes, this service takes {max_bytes}: use fewer examples "
            "or a smaller dtype, or raise max_dataset_bytes."
        )
    return {name: found[name] for name in ARRAYS if name in found}


def _unpack_array(name: str, stream: IO[bytes], size_bytes: int, target: Path) -> None:
    start = stream.read(_MAX_HEADER_BYTES)
    header = _read_header(name, start)
    if header.offset_bytes + header.array_bytes != size_bytes:
        raise Invalid.field(
            f"/{name}",
            f"{name} says {list(header.shape)} of {header.dtype.name}, {header.array_bytes} bytes, "
            f"but {size_bytes - header.offset_bytes} bytes follow; {_REMEDY}.",
        )
    dtype = header.dtype.newbyteorder("<")
    plain = not header.fortran_order and header.dtype == dtype
    raw = target if plain else target.with_suffix(".raw")
    with raw.open("xb") as file:
        if plain:
            _write_header(file, dtype, header.shape)
        file.write(start[header.offset_bytes :])
        while chunk := stream.read(_CHUNK_BYTES):
            file.write(chunk)
    if not plain:
        _rearrange(raw, header, target)
        raw.unlink()


def _read_header(name: str, start: bytes) -> _Header:
    file = io.BytesIO(start)  # never the stream itself: a header may claim gigabytes
    try:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran_order, dtype = read(file)
    except _UNREADABLE as error:
        raise Invalid.field(
            f"/{name}", f"{name} has no readable .npy header ({error!s:.200}); {_REMEDY}."
        ) from error
    _check_dtype(name, dtype)
    if not shape or min(shape) < 1:
        raise Invalid.field(
            f"/{name}", f"{name} has shape {list(shape)}; expected at least one row and one value."
        )
    return _Header(tuple(int(axis) for axis in shape), dtype, fortran_order, file.tell())


def _check_dtype(name: str, dtype: np.dtype[np.generic]) -> None:
    numbers = dtype.kind in "fiu" and dtype.itemsize <= 8
    if not numbers or dtype.hasobject or dtype.subdtype is not None:
        kind = "Python objects (pickled)" if dtype.hasobject else str(dtype)
        raise Invalid.field(
            f"/{name}",
            f"{name} holds {kind:.100}; expected floats or integers of at most 64 bits: "
            f"{_numbers(name, dtype)}.",
        )


def _numbers(name: str, dtype: np.dtype[np.generic]) -> str:
    """How an array that holds something else becomes numbers."""
    numbers = f"{name}.astype('float32')"
    if name == "targets" and dtype.kind == "b":
        return f"targets.astype('int64') for classes, {numbers} for numbers"
    if dtype.kind in "USO" and name == "targets":
        return (
            f"numpy.unique(targets, return_inverse=True)[1] numbers named classes, {numbers} reads "
            "numbers"
        )
    if dtype.kind in "USO":
        return f"{numbers} reads numbers; what has names must be numbered first"
    return f"{numbers}, or integers for classes and ids"


def _write_header(file: IO[bytes], dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> None:
    description = npy.dtype_to_descr(dtype)
    npy.write_array_header_1_0(file, {"descr": description, "fortran_order": False, "shape": shape})


def _rearrange(raw: Path, header: _Header, target: Path) -> None:
    """Copy `raw` to C order and little-endian, some rows at a time."""
    order: Literal["F", "C"] = "F" if header.fortran_order else "C"
    source: np.memmap[Any, np.dtype[Any]] = np.memmap(
        raw, header.dtype, "r", shape=header.shape, order=order
    )
    copy = npy.open_memmap(
        target, "w+", header.dtype.newbyteorder("<"), header.shape, fortran_order=False
    )
    rows = max(1, _CHUNK_BYTES * header.shape[0] // header.array_bytes)
    for first in range(0, header.shape[0], rows):
        copy[first : first + rows] = source[first : first + rows]
    copy.flush()
