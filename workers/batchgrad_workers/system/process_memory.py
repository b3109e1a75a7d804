"""This process's memory use, and a limit on further allocations (Linux)."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    """Bytes of memory that are resident now, shared or not."""
    return _pages(1) * _PAGE_BYTES


def peak_resident_bytes() -> int:
    """The most bytes of memory that were resident since this program began.

    getrusage's ru_maxrss counts those of the process that started it, too.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    [peak] = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(peak) * 1024


@contextmanager
def at_most(more_bytes: int) -> Iterator[None]:
    """Within the block, allocations beyond `more_bytes` above the current use raise MemoryError.

    Mapped files, such as datasets, do not count (RLIMIT_DATA).
    """
    before, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = _pages(5) * _PAGE_BYTES + more_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (before, hard))


def _pages(column: int) -> int:
    """A column of /proc/self/statm: 1 is resident, 5 is private memory that may be written."""
    return int(Path("/proc/self/statm").read_text().split()[column])
