"""Memory that processes of one machine share: a memfd, handed over as a file descriptor.

Nothing has a name, so nothing is left when a process dies. All pages are allocated at once: too
little memory is an error here, and not a SIGBUS at some later write.
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
"""Where an array stands: its dtype, its first byte, its length."""


def allocate(size_bytes: int) -> int:
    """A descriptor of so many bytes of shared memory, all of them there.

    Raises:
        MemoryError: the system does not have them.
    """
    descriptor = os.memfd_create("batchgrad")
    try:
        os.posix_fallocate(descriptor, 0, max(1, size_bytes))
    except OSError as error:
        os.close(descriptor)
        raise MemoryError(
            f"{size_bytes} bytes of shared memory can't be had ({error.strerror}): give the "
            "machine or the container more memory, or ask for fewer workers."
        ) from error
    return descriptor


def mapped(descriptor: int) -> mmap.mmap:
    """All of it, readable and writable; it lives as long as the mapping or an array on it."""
    return mmap.mmap(descriptor, 0)


def array_at(memory: mmap.mmap, place: Place) -> Array:
    """The array (length,) that stands there, without a copy."""
    dtype, offset, length = place
    return np.frombuffer(memory, dtype, length, offset)


class Outbox:
    """A process's own memory, for what it hands to another: kept from call to call, and grown."""

    def __init__(self) -> None:
        self._call = -1
        self._memory: mmap.mmap | None = None
        self._used = 0

    def put(self, call: int, arrays: Sequence[Any]) -> tuple[list[Place], list[int]]:
        """Copy flat arrays in; where they stand, and a descriptor if that is in new memory.

        What was put in during the same call stays as it is; what an earlier call put in may be
        overwritten. The caller closes the descriptor when it has handed it on.

        Raises:
            MemoryError: it had to grow and could not.
        """
        if call != self._call:
            self._call, self._used = call, 0
        rooms = [-(-array.nbytes // ALIGNMENT) * ALIGNMENT for array in arrays]
        needed = self._used + sum(rooms)
        descriptors = []
        if self._memory is None or needed > len(self._memory):
            descriptors.append(allocate(needed))
            self._memory, self._used = mapped(descriptors[0]), 0
        offsets = accumulate(rooms, initial=self._used)
        places = [
            (array.dtype.str, offset, len(array))
            for array, offset in zip(arrays, offsets, strict=False)
        ]
        for array, place in zip(arrays, places, strict=True):
            array_at(self._memory, place)[:] = array
        self._used += sum(rooms)
        return places, descriptors
