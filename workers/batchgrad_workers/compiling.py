"""Loops over numbers, compiled to machine code: for what takes numpy many passes."""

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

Loop = TypeVar("Loop", bound=Callable[..., None])


def compiled(loop: Loop) -> Loop:
    """Compile `loop` for each kind of arrays that it meets; it runs without the GIL.

    Additions may be regrouped for the CPU's vectors, alike wherever CPUs are of one kind, so bits
    stay the same there; infinities and NaN go through as in numpy. Indices are not checked: the
    caller vouches for shapes. Machine code is kept on the disk (`__pycache__`, else the user's
    cache; NUMBA_CACHE_DIR); where nothing can be written, each process compiles anew.
    """
    try:
        return _compile(loop, keep=True)
    except RuntimeError:  # numba found no folder to write to
        return _compile(loop, keep=False)


def _compile(loop: Loop, *, keep: bool) -> Loop:
    options = {"reassoc", "contract", "nsz"}
    found = njit(loop, nogil=True, cache=keep, fastmath=options, error_model="numpy")
    return cast("Loop", found)
