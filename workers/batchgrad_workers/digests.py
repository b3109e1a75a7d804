"""What arrays hold, as one short name: equal digests mean equal bits."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from batchgrad_workers.arrays import Array

ROW_BYTES = 2048


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


def checksum(vector: Array) -> str:
    """A quick fingerprint of the bits of a contiguous array: 32 hex digits, at memory's speed.

    The bytes as rows of 256 little-endian words, each column summed with wrap-around; SHA-256
    over the sums and the rest. One changed bit always shows; it is no defence against forgery.
    """
    little = np.ascontiguousarray(vector, vector.dtype.newbyteorder("<")).reshape(-1)
    content = little.view(np.uint8)
    whole = len(content) - len(content) % ROW_BYTES
    rows = content[:whole].view(np.uint64).reshape(-1, ROW_BYTES // 8)
    sha = hashlib.sha256(f"{little.dtype.str}\0{len(little)}\0".encode())
    sha.update(np.add.reduce(rows, axis=0))
    sha.update(content[whole:].data)
    return sha.hexdigest()[:32]
