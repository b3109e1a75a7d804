"""Fetch a dataset's files from the first URL that has them, and verify them while writing."""

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy.lib.format as npy

from batchgrad_workers.data.transfers import DatasetUnavailable, from_store, over_http
from batchgrad_workers.digests import heading

HEADER_BYTES = 2**16
"""Largest header of a .npy file of version 1.0, which the service writes."""


def fetch(
    digest: str, files: Mapping[str, int], urls: Sequence[str], secret: str, directory: Path
) -> list[str]:
    """Write the `files` (array name → bytes of its .npy) to `directory`.

    NAME.npy is at URL/NAME.npy, where a URL is this service's (http, https) or a blob store's.
    Returns why the URLs before the successful one failed.

    Raises:
        DatasetUnavailable: no URL has content with this digest.
    """
    refused: list[str] = []
    for url in urls:
        try:
            _copy(digest, files, url, secret, directory)
        except DatasetUnavailable as error:
            refused.append(f"{url}: {error}")
        else:
            return refused
    raise DatasetUnavailable("; ".join(refused))


def _copy(digest: str, files: Mapping[str, int], url: str, secret: str, directory: Path) -> None:
    sha = hashlib.sha256()
    for name, size_bytes in files.items():
        address = f"{url}/{name}.npy"
        chunks = (
            over_http(address, secret, size_bytes)
            if url.startswith(("http://", "https://"))
            else from_store(address)
        )
        with (directory / f"{name}.npy").open("r+b") as file:
            _receive(name, size_bytes, chunks, file, sha)
    if (found := f"sha256:{sha.hexdigest()}") != digest:
        raise DatasetUnavailable(
            f"its content has digest {found}, so it is corrupted: delete the dataset and push it "
            "again"
        )


def _receive(
    name: str, size_bytes: int, chunks: Iterator[bytes], file: IO[bytes], sha: Any
) -> None:
    """Write one .npy file, and hash its array as `digests.digest` does."""
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
            f"{name}.npy has {received} bytes {more}there, but {size_bytes} were stored"
        )


def _with_whole_header(chunks: Iterator[bytes], size_bytes: int) -> Iterator[bytes]:
    """The same bytes, with a first chunk that contains the whole header."""
    start = b""
    for chunk in chunks:
        start += chunk
        if len(start) >= min(size_bytes, HEADER_BYTES):
            break
    yield start
    yield from chunks


def _after_header(name: str, start: bytes, sha: Any) -> bytes:
    """Hash the header's dtype and shape, and return the data after the header in `start`."""
    file = io.BytesIO(start)
    try:
        version = npy.read_magic(file)
        shape, fortran_order, dtype = npy.read_array_header_1_0(file)
    except Exception as error:  # numpy's parser raises many types for a bad header
        raise DatasetUnavailable(f"{name}.npy is not a .npy file ({error!s:.200})") from error
    if version != (1, 0) or fortran_order or dtype != dtype.newbyteorder("<"):
        raise DatasetUnavailable(f"{name}.npy is not of version 1.0, C order and little-endian")
    sha.update(heading(name, dtype, shape))
    return start[file.tell() :]
