"""Loops over numbers, compiled to machine code: for what takes numpy many passes."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

Loop = TypeVar("Loop", bound=Callable[..., Any])


def compiled(loop: Loop) -> Loop:
    """Compile `loop` for each kind of arrays that it meets; it runs without the GIL.

    Additions may be regrouped for the CPU's vectors, alike wherever CPUs are of one kind, so bits
    stay the same there; infinities and NaN go through as in numpy. A loop that adds up must not
    write to an array as well: whether it uses vectors would then depend on how far apart the arrays
    lie in memory, and so would the sum's bits. Indices are not checked: the caller vouches for
    shapes. Machine code is kept on the disk (`__pycache__`, else the user's
    cache; NUMBA_CACHE_DIR); where nothing can be written, each process compiles anew.
    """
    return _compiled(loop, {"reassoc", "contract", "nsz"})


def compiled_in_order(loop: Loop) -> Loop:
    """The same for formulas that are written so that nothing cancels: additions stay as they are.

    Regrouped, (1 - y) - y r becomes 1 - y (1 + r), which does cancel.
    """
    return _compiled(loop, set())


def _compiled(loop: Loop, options: set[str]) -> Loop:
    try:
        return _compile(loop, options, keep=True)
    except RuntimeError:  # numba found no folder to write to
        return _compile(loop, options, keep=False)


def _compile(loop: Loop, options: set[str], *, keep: bool) -> Loop:
    found = njit(loop, nogil=True, cache=keep, fastmath=options, error_model="numpy")
    return cast("Loop", found)
