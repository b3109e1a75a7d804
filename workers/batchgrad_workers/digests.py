"""Digests and checksums of arrays: equal digests mean equal bits."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from batchgrad_workers.arrays import Array

ROW_BYTES = 1024


def digest(arrays: Mapping[str, Any]) -> str:
    """SHA-256 over each array's name, dtype, shape and little-endian C-order bytes, in order.

    An array that is mapped from a file is read piece by piece, not loaded into memory.
    """
    sha = hashlib.sha256()
    for name, array in arrays.items():
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        sha.update(heading(name, little.dtype, array.shape))
        sha.update(little.data)
    return f"sha256:{sha.hexdigest()}"


def heading(name: str, dtype: np.dtype[Any], shape: Sequence[int]) -> bytes:
    """The bytes that `digest` hashes before an array's own bytes."""
    return f"{name}\0{dtype.name}\0{list(shape)}\0".encode()


def checksums(vectors: Array) -> list[str]:
    """A fast checksum of each vector's bits, (s, P): 32 hex digits, at the speed of memory.

    The bytes are rows of 256 little-endian words of 32 bits; each column is summed modulo 2^32,
    and SHA-256 hashes the sums and the rest. One changed bit always changes the checksum; it does
    not protect against forgery.
    """
    content = np.ascontiguousarray(vectors, vectors.dtype.newbyteorder("<")).view(np.uint8)
    whole = content.shape[1] - content.shape[1] % ROW_BYTES
    rows = content[:, :whole].view("<u4").reshape(len(vectors), -1, ROW_BYTES // 4)
    columns = np.add.reduce(rows, axis=1, dtype=np.uint32)
    start = hashlib.sha256(f"{vectors.dtype.str}\0{vectors.shape[1]}\0".encode())
    found: list[str] = []
    for sums, rest in zip(columns, content[:, whole:], strict=True):
        sha = start.copy()
        sha.update(sums)
        sha.update(rest)
        found.append(sha.hexdigest()[:32])
    return found
