"""Threads over microbatches: numpy lets go of the GIL inside, so they share the cores."""

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from types import TracebackType
from typing import Self

import numpy as np
from threadpoolctl import threadpool_limits


def single_threaded_blas() -> None:
    """Hold BLAS to one thread in this process, for good.

    One microbatch is one computation: its bits must not depend on how many cores there are.
    """
    threadpool_limits(limits=1)


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # <malloc.h>


def keep_freed_memory() -> None:
    """Let malloc keep what a step frees for the next one, instead of giving it back each time.

    Without this glibc trims its heap after every step, and each step then faults in thousands of
    pages: measured, three times the time of the comparison. Does nothing with another libc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 32 << 20)
        mallopt(M_TRIM_THRESHOLD, 1 << 30)


class ThreadPool:
    """A fixed number of threads that take work items in order."""

    def __init__(self, threads: int) -> None:
        """With one thread, the caller itself works."""
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads - 1, "microbatch") if threads > 1 else None

    def run(self, items: range, work: Callable[[int], None]) -> None:
        """Call `work(item)` for every item, each once, on any thread; the first error is raised.

        Overflow raises no warnings: whoever looks at the results tells of it.
        """
        remaining = iter(items)

        def take() -> None:
            with np.errstate(all="ignore"):  # a thread does not inherit its caller's
                for item in remaining:
                    work(item)

        if self._pool is None:
            take()
            return
        helpers = [self._pool.submit(take) for _ in range(self.threads - 1)]
        try:
            take()
        finally:
            wait(helpers)  # nobody may still write into the caller's arrays
        for helper in helpers:
            helper.result()

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
