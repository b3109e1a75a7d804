"""A pool of threads that compute microbatches in parallel: numpy releases the GIL."""

import ctypes
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from types import TracebackType
from typing import Self, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

Item = TypeVar("Item")


def single_threaded_blas() -> None:
    """Limit BLAS to one thread in this process, permanently.

    The bits of a microbatch's sums must not depend on the number of cores.
    """
    threadpool_limits(limits=1)


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # <malloc.h>


def keep_freed_memory() -> None:
    """Make malloc keep the memory that a step frees for the next step.

    Without this, glibc trims its heap after every step, and each step then faults in thousands of
    pages: measured, the comparison took three times as long. Does nothing with another libc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 32 << 20)
        mallopt(M_TRIM_THRESHOLD, 1 << 30)


class ThreadPool:
    """A fixed number of threads, the caller's included, that take work items in order."""

    def __init__(self, threads: int) -> None:
        """Start `threads - 1` threads: the caller works as well."""
        self.threads = threads
        self._executor = ThreadPoolExecutor(threads - 1, "microbatch") if threads > 1 else None

    def run(self, items: Sequence[Item], work: Callable[[Item], None]) -> None:
        """Call `work(item)` once for every item, on any thread; raise the first error.

        Overflow gives no warning: the caller must check the results.
        """
        remaining = iter(items)

        def take() -> None:
            with np.errstate(all="ignore"):  # a thread does not inherit its caller's errstate
                for item in remaining:
                    work(item)

        if self._executor is None:
            take()
            return
        helpers = [self._executor.submit(take) for _ in range(self.threads - 1)]
        try:
            take()
        finally:
            wait(helpers)  # no thread may still write into the caller's arrays
        for helper in helpers:
            helper.result()

    def close(self) -> None:
        """End the threads."""
        if self._executor is not None:
            self._executor.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
