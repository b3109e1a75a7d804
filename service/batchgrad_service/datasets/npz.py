"""Unpack an uploaded .npz without trusting a byte of it: no pickle, no surprise in size."""

import os
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from batchgrad_service.datasets.careful_zip import UNREADABLE, CarefulFile, refused_compression
from batchgrad_service.datasets.npy_headers import (
    MAX_HEADER_BYTES,
    REMEDY,
    Header,
    read_header,
    write_header,
)
from batchgrad_service.problems import InvalidError, TooLargeError
from batchgrad_workers.data.dataset import ARRAYS

Purpose = Literal["dataset", "evaluation", "prediction"]
"""What a file of arrays is for. Only a dataset may have arrays of any names."""

UPLOADED_ARRAYS = ("inputs", "targets", "weights", "units", "split")
MAX_ARRAYS = 32
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_UNNAMED = re.compile(r"arr_\d+")
"""What numpy.savez calls an array without a name."""

_CHUNK_BYTES = 2**20
_MAX_READ_BYTES = 4 * _CHUNK_BYTES


def unpack(archive: Path, directory: Path, *, max_bytes: int, purpose: Purpose = "dataset") -> None:
    """Write the arrays of `archive` to `directory` as C-order little-endian .npy files.

    Raises:
        InvalidError: not an npz, other arrays than expected, or dtypes that are not numbers.
        TooLargeError: the arrays hold more than `max_bytes` together.
        OSError: the disk does not take them.
    """
    with CarefulFile(archive, _MAX_READ_BYTES) as file, opened(file) as unzipped:
        for name, member in _members(unzipped, max_bytes, purpose).items():
            _unpack_array(
                name, pieces(unzipped, member), member.file_size, directory / f"{name}.npy"
            )


@contextmanager
def _damage_is_invalid() -> Iterator[None]:
    try:
        yield
    except UNREADABLE as error:
        raise InvalidError.field(
            "", f"This is not a readable npz ({error!s:.200}); {REMEDY}.", code="not_npz"
        ) from error


@contextmanager
def opened(file: IO[bytes]) -> Iterator[zipfile.ZipFile]:
    """The archive in `file`; InvalidError if it is not an archive."""
    with _damage_is_invalid():
        unzipped = zipfile.ZipFile(file)
    with unzipped:
        yield unzipped


def pieces(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield the member's bytes: first enough for a header, then a chunk at a time."""
    with _damage_is_invalid(), archive.open(member) as stream:
        yield stream.read(MAX_HEADER_BYTES)
        while chunk := stream.read(_CHUNK_BYTES):
            yield chunk


def members(
    archive: zipfile.ZipFile, check_name: Callable[[str], None]
) -> dict[str, zipfile.ZipInfo]:
    """Return the arrays by name, each checked by `check_name`. Raises InvalidError."""
    found: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy")
        if name in found:
            raise InvalidError.field("", f"The npz holds {name} twice; {REMEDY}.")
        if name == info.filename:
            raise InvalidError.field(
                "", f"The npz holds {name!r:.100}, which is no .npy; {REMEDY}."
            )
        check_name(name)
        if info.flag_bits & 1:
            raise InvalidError.field(f"/{name}", f"{name} is encrypted; {REMEDY}.")
        if kind := refused_compression(info):
            raise InvalidError.field(
                f"/{name}",
                f"{name} is compressed by {kind}; expected deflate, or none: numpy.savez_compressed"
                " or numpy.savez.",
            )
        found[name] = info
    return found


def _check_known(name: str) -> None:
    if name not in UPLOADED_ARRAYS:
        raise InvalidError.field(
            "",
            f"The npz holds {name!r:.100}, which is none of {', '.join(UPLOADED_ARRAYS)}: name the "
            "arrays so, as in numpy.savez(file, inputs=X, targets=y).",
        )


def _check_name(name: str) -> None:
    if name in UPLOADED_ARRAYS:
        return
    if not _NAME.fullmatch(name) or _UNNAMED.fullmatch(name):
        raise InvalidError.field(
            "",
            f"The npz holds {name!r:.100}; expected a name of at most 64 letters, digits and _, "
            "and no number first: name each array, as in numpy.savez(file, inputs=X, targets=y).",
        )
    if name in ARRAYS:
        raise InvalidError.field(
            f"/{name}",
            f"The npz holds {name!r}, a name that the columns of tables have: rename the array.",
        )


def _members(
    archive: zipfile.ZipFile, max_bytes: int, purpose: Purpose
) -> dict[str, zipfile.ZipInfo]:
    found = members(archive, _check_name if purpose == "dataset" else _check_known)
    if len(found) > MAX_ARRAYS:
        raise InvalidError.field(
            "",
            f"The npz holds {len(found)} arrays; expected at most {MAX_ARRAYS}: stack arrays of "
            "one shape, numpy.stack(arrays, 1).",
        )
    others = sorted(found.keys() - {*UPLOADED_ARRAYS})
    required = ("inputs",) if purpose == "prediction" else ("inputs", "targets")
    for name in () if others else required:
        if name not in found:
            raise InvalidError.field(
                f"/{name}", f"The npz holds {sorted(found) or 'nothing'}, not {name}; {REMEDY}."
            )
    total = sum(info.file_size for info in found.values())
    if total > max_bytes:
        raise TooLargeError(
            f"The npz unpacks to {total} bytes, this service takes {max_bytes}: use fewer examples "
            "or a smaller dtype, or raise max_dataset_bytes."
        )
    return {name: found[name] for name in (*UPLOADED_ARRAYS, *others) if name in found}


def _unpack_array(name: str, pieces: Iterator[bytes], size_bytes: int, target: Path) -> None:
    start = next(pieces)
    header = read_header(name, start, booleans=name not in UPLOADED_ARRAYS)
    if header.offset_bytes + header.array_bytes != size_bytes:
        raise InvalidError.field(
            f"/{name}",
            f"{name} says {list(header.shape)} of {header.dtype.name}, {header.array_bytes} bytes, "
            f"but {size_bytes - header.offset_bytes} bytes follow; {REMEDY}.",
        )
    dtype = header.dtype.newbyteorder("<")
    plain = not header.fortran_order and header.dtype == dtype
    raw = target if plain else target.with_suffix(".raw")
    with raw.open("xb") as file:
        if plain:
            write_header(file, dtype, header.shape)
        written = file.write(start[header.offset_bytes :])
        for piece in pieces:
            written += file.write(piece)
    if written != header.array_bytes:
        raise InvalidError.field(
            f"/{name}", f"{name} ends after {written} of {header.array_bytes} bytes; {REMEDY}."
        )
    if not plain:
        _rearrange(raw, header, target)
        raw.unlink()


def _rearrange(raw: Path, header: Header, target: Path) -> None:
    """Copy `raw` to C order and little-endian, some rows at a time.

    The copy's disk space is allocated before it is mapped: on a full disk the allocation raises
    OSError, while writing to a mapped hole of a file would kill the process.
    """
    order: Literal["F", "C"] = "F" if header.fortran_order else "C"
    source: np.memmap[Any, np.dtype[Any]] = np.memmap(
        raw, header.dtype, "r", shape=header.shape, order=order
    )
    dtype = header.dtype.newbyteorder("<")
    with target.open("xb") as file:
        write_header(file, dtype, header.shape)
        offset = file.tell()
        os.posix_fallocate(file.fileno(), offset, header.array_bytes)
    copy: np.memmap[Any, np.dtype[Any]] = np.memmap(
        target, dtype, "r+", offset=offset, shape=header.shape
    )
    rows = max(1, _CHUNK_BYTES * header.shape[0] // header.array_bytes)
    for first in range(0, header.shape[0], rows):
        copy[first : first + rows] = source[first : first + rows]
    copy.flush()
