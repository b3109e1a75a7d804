"""Memory shared by processes of one machine: a memfd, passed as a file descriptor.

A memfd has no name, so nothing remains when a process dies. All pages are allocated at once: too
little memory is an error here, not a SIGBUS at a later write.
"""

import mmap
import os
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from batchgrad_workers.arrays import Array

ALIGNMENT = 64

Place = tuple[str, int, int]
"""Where an array is in the memory: its dtype, its first byte, its length."""


def allocate(size_bytes: int) -> int:
    """Allocate `size_bytes` of shared memory, and return its descriptor.

    Raises:
        MemoryError: the system has too little memory.
    """
    descriptor = os.memfd_create("batchgrad")
    try:
        os.posix_fallocate(descriptor, 0, max(1, size_bytes))
    except OSError as error:
        os.close(descriptor)
        raise MemoryError(
            f"{size_bytes} bytes of shared memory are not available ({error.strerror}): give the "
            "machine or the container more memory, or use fewer workers."
        ) from error
    return descriptor


def mapped(descriptor: int) -> mmap.mmap:
    """Map all of it, readable and writable; it lives as long as the mapping or an array on it."""
    return mmap.mmap(descriptor, 0)


def array_at(memory: mmap.mmap, place: Place) -> Array:
    """The array (length,) at `place`, without a copy."""
    dtype, offset, length = place
    return np.frombuffer(memory, dtype, length, offset)


class Outbox:
    """A process's own memory for arrays that it sends; reused for each request, grown if needed."""

    def __init__(self) -> None:
        self._request_number = -1
        self._memory: mmap.mmap | None = None
        self._used = 0

    def put(self, request_number: int, arrays: Sequence[Any]) -> tuple[list[Place], list[int]]:
        """Copy flat arrays in; return their places, and the descriptor of the memory if it is new.

        Arrays of the same request stay; those of earlier requests may be overwritten. The caller
        must close the descriptor after sending it.

        Raises:
            MemoryError: the memory had to grow and could not.
        """
        if request_number != self._request_number:
            self._request_number, self._used = request_number, 0
        sizes = [-(-array.nbytes // ALIGNMENT) * ALIGNMENT for array in arrays]
        needed = self._used + sum(sizes)
        descriptors = []
        if self._memory is None or needed > len(self._memory):
            descriptors.append(allocate(needed))
            self._memory, self._used = mapped(descriptors[0]), 0
        offsets = accumulate(sizes, initial=self._used)
        places = [
            (array.dtype.str, offset, len(array))
            for array, offset in zip(arrays, offsets, strict=False)
        ]
        for array, place in zip(arrays, places, strict=True):
            array_at(self._memory, place)[:] = array
        self._used += sum(sizes)
        return places, descriptors
