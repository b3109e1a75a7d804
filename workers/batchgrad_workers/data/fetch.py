"""A dataset's files from the first place that has them, verified while they are written."""

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy.lib.format as npy

from batchgrad_workers.data.transfers import DatasetUnavailable, from_store, over_http
from batchgrad_workers.digests import heading

HEADER_BYTES = 2**16
"""The most that a .npy header takes in version 1.0, which the service writes."""


def fetch(
    digest: str, files: Mapping[str, int], urls: Sequence[str], secret: str, into: Path
) -> list[str]:
    """Fill the `files` (array name → bytes of its .npy) in `into`; what the first URLs refused.

    A URL is the place where NAME.npy is found, of this service (http, https) or of a blob store.

    Raises:
        DatasetUnavailable: no URL gave the content with this digest.
    """
    refused: list[str] = []
    for url in urls:
        try:
            _copy(digest, files, url, secret, into)
        except DatasetUnavailable as error:
            refused.append(f"{url}: {error}")
        else:
            return refused
    raise DatasetUnavailable("; ".join(refused))


def _copy(digest: str, files: Mapping[str, int], url: str, secret: str, into: Path) -> None:
    sha = hashlib.sha256()
    for name, size_bytes in files.items():
        address = f"{url}/{name}.npy"
        chunks = (
            over_http(address, secret, size_bytes)
            if url.startswith(("http://", "https://"))
            else from_store(address)
        )
        with (into / f"{name}.npy").open("r+b") as file:
            _receive(name, size_bytes, chunks, file, sha)
    if (found := f"sha256:{sha.hexdigest()}") != digest:
        raise DatasetUnavailable(
            f"what it gives has digest {found}: it is corrupted there; delete the dataset and "
            "push it again"
        )


def _receive(
    name: str, size_bytes: int, chunks: Iterator[bytes], file: IO[bytes], sha: Any
) -> None:
    """Write one .npy, and hash the array in it as `digests.digest` does."""
    received = 0
    for chunk in _with_whole_header(chunks, size_bytes):
        data = memoryview(chunk)
        sha.update(_after_header(name, chunk, sha) if not received else data)
        received += len(chunk)
        if received > size_bytes:
            break
        file.write(data)
    if received != size_bytes:
        more = "or more " if received > size_bytes else ""
        raise DatasetUnavailable(
            f"{name}.npy has {received} bytes {more}there, where {size_bytes} were stored"
        )


def _with_whole_header(chunks: Iterator[bytes], size_bytes: int) -> Iterator[bytes]:
    """The same bytes, the first chunk long enough for any header."""
    start = b""
    for chunk in chunks:
        start += chunk
        if len(start) >= min(size_bytes, HEADER_BYTES):
            break
    yield start
    yield from chunks


def _after_header(name: str, start: bytes, sha: Any) -> bytes:
    """Hash what the header says; the data that follow it in `start`."""
    file = io.BytesIO(start)
    try:
        version = npy.read_magic(file)
        shape, fortran_order, dtype = npy.read_array_header_1_0(file)
    except Exception as error:  # numpy's parser breaks in many ways over what is no header
        raise DatasetUnavailable(f"{name}.npy is no .npy file ({error!s:.200})") from error
    if version != (1, 0) or fortran_order or dtype != dtype.newbyteorder("<"):
        raise DatasetUnavailable(f"{name}.npy is not of version 1.0, C order and little-endian")
    sha.update(heading(name, dtype, shape))
    return start[file.tell() :]
