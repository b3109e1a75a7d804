"""What arrays hold, as one short name: equal digests mean equal bits."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from batchgrad_workers.arrays import Array

ROW_BYTES = 1024


def digest(arrays: Mapping[str, Any]) -> str:
    """SHA-256 over each array's name, dtype, shape and little-endian C-order bytes, in order.

    An array that is mapped from a file is read through, not loaded.
    """
    sha = hashlib.sha256()
    for name, array in arrays.items():
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        sha.update(heading(name, little.dtype, array.shape))
        sha.update(little.data)
    return f"sha256:{sha.hexdigest()}"


def heading(name: str, dtype: np.dtype[Any], shape: Sequence[int]) -> bytes:
    """What `digest` hashes before an array's bytes."""
    return f"{name}\0{dtype.name}\0{list(shape)}\0".encode()


def checksums(vectors: Array) -> list[str]:
    """A quick fingerprint of each vector's bits, (s, P): 32 hex digits, at memory's speed.

    The bytes as rows of 256 little-endian words of 32 bits, each column summed with wrap-around;
    SHA-256 over the sums and the rest. One changed bit always shows; it is no defence against
    forgery.
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
