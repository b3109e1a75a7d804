"""Compilation of loops to machine code, and the registry of kernels with their definitions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from numba import njit
from numba.core.caching import FunctionCache
from numba.extending import is_jitted

Loop = TypeVar("Loop", bound=Callable[..., Any])


@dataclass(frozen=True)
class Kernel:
    """A compiled loop with its definition.

    `signature` is "a (n, i), rate -> z (n)": the loop's arguments with their shapes, and which of
    them it writes. `definition` takes some of the same arguments and returns what is written, in
    that order, then what the loop returns. `where` says what the loop may assume: the value of an
    argument as a function of other arguments, or the size that a letter has.
    """

    loop: Callable[..., Any]
    signature: str
    definition: Callable[..., Any]
    where: Mapping[str, Any] = field(default_factory=dict)


KERNELS: dict[str, Kernel] = {}
"""All kernels that were imported, by module and name; tests/workers/test_kernels.py draws each."""


def kernel(
    signature: str,
    definition: Callable[..., Any],
    *,
    where: Mapping[str, Any] | None = None,
    in_order: bool = False,
) -> Callable[[Loop], Loop]:
    """Compile the loop that follows and register it with its definition; fields as in `Kernel`.

    Letters: n example · t position · i input · o output · p parameter · g group · c channel · h w
    height and width of an image · y x of what windows make of it · k numbers of a patch · s step.
    """

    def register(loop: Loop) -> Loop:
        found = compiled_in_order(loop) if in_order else compiled(loop)
        name = f"{loop.__module__.rpartition('.')[2]}.{loop.__name__}"
        KERNELS[name] = Kernel(found, signature, definition, where or {})
        return found

    return register


def compiled(loop: Loop) -> Loop:
    """Compile `loop` for each kind of array that it gets; it runs without the GIL.

    Additions may be regrouped for the CPU's vectors, in the same way on CPUs of one kind, so bits
    stay the same there; infinities and NaN go through as in numpy. A loop that adds up must not
    write to an array as well: whether it uses vectors would then depend on how far apart the arrays
    lie in memory, and so would the sum's bits. Indices are not checked: callers check shapes.
    Machine code is kept on disk (`__pycache__`, else the user's cache; NUMBA_CACHE_DIR); if no
    folder is writable, each process compiles again.
    """
    return _compiled(loop, {"reassoc", "contract", "nsz"})


def compiled_in_order(loop: Loop) -> Loop:
    """Compile a formula as it is written: additions keep their order, and nothing is fused.

    Regrouped, (1 - y) - y r becomes 1 - y (1 + r), which cancels. Which product of a sum is fused
    into a multiply-add differs between vectors and the numbers left over.
    """
    return _compiled(loop, set())


def _compiled(loop: Loop, options: set[str]) -> Loop:
    try:
        return _compile(loop, options, keep=True)
    except RuntimeError:  # numba found no folder to write to
        return _compile(loop, options, keep=False)


def _compile(loop: Loop, options: set[str], *, keep: bool) -> Loop:
    found: Any = njit(loop, nogil=True, cache=keep, fastmath=options, error_model="numpy")
    if keep and is_jitted(found):  # it is not with NUMBA_DISABLE_JIT
        _date_by_what_it_calls(found)
    return cast("Loop", found)


def _date_by_what_it_calls(found: Any) -> None:
    """Compile anew when a file has changed of which this loop calls a loop.

    numba looks at the loop's own file alone, although the others' code is part of its own. For
    what it compares there is no public name. A number that another file defines is not seen.
    """
    loop = found.py_func
    called = (loop.__globals__.get(name) for name in loop.__code__.co_names)
    jitted: list[Any] = [each for each in (found, *called) if is_jitted(each)]
    caches = [each._cache for each in jitted]  # noqa: SLF001
    files = [each._cache_file for each in caches if isinstance(each, FunctionCache)]  # noqa: SLF001
    files[0]._source_stamp = tuple(file._source_stamp for file in files)  # noqa: SLF001
