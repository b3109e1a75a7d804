"""What arrays hold, as one short name: equal digests mean equal bits."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np


def digest(arrays: Mapping[str, Any]) -> str:
    """SHA-256 over each array's name, dtype, shape and little-endian C-order bytes, in order.

    An array that is mapped from a file is read through, not loaded.
    """
    sha = hashlib.sha256()
    for name, array in arrays.items():
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        sha.update(f"{name}\0{little.dtype.name}\0{list(array.shape)}\0".encode())
        sha.update(little.data)
    return f"sha256:{sha.hexdigest()}"
