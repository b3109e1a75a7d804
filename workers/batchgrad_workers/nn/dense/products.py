"""numpy's own matrix products, for compiled code; numba's `@` calls scipy's BLAS, which is slower.

The products of numpy's wheels are OpenBLAS's, with 64-bit sizes. They are called by address, so the
kernels are those that `runtime.blas` selected, and the bits are those of `numpy.matmul`, which has
others where a side of the result is 1: it calls a product of a matrix and a vector then.
"""

import ctypes
from typing import Any

from llvmlite import binding
from numba import config, types
from numba.core.errors import TypingError
from numba.extending import overload
from numba.np.numpy_support import as_dtype
from threadpoolctl import threadpool_info

from batchgrad_workers.arrays import Array
from batchgrad_workers.nn.kernels.jit import compiled

ROW_MAJOR, AS_IT_IS, TRANSPOSED = 101, 111, 112  # <cblas.h>
SYMBOLS = {types.float32: "scipy_cblas_sgemm64_", types.float64: "scipy_cblas_dgemm64_"}


def _link() -> bool:
    """Make the products known to compiled code; False if numpy has another BLAS."""
    libraries = [each["filepath"] for each in threadpool_info() if each["user_api"] == "blas"]
    for path in (each for each in libraries if "numpy" in each):
        try:
            library = ctypes.CDLL(path)
        except OSError:  # the file is gone, after an upgrade while this process ran
            return False
        if all(hasattr(library, symbol) for symbol in SYMBOLS.values()):
            for symbol in SYMBOLS.values():
                address = ctypes.cast(getattr(library, symbol), ctypes.c_void_p).value
                binding.add_symbol(symbol, address)
            return True
    return False


_numba: Any = config
AVAILABLE = not _numba.DISABLE_JIT and _link()
"""Whether compiled code can call numpy's products."""


def _gemm(op: Any, op_b: Any, n: Any, k: Any, m: Any, a: Any, b: Any, out: Any, add: Any) -> Any:
    """Out (n, m) = op(a) (n, k) op(b) (k, m), each as it is or transposed; in compiled code.

    With `add` the product is added to what is in `out`.
    """
    raise NotImplementedError("numba calls what `overload` gives for it")


@overload(_gemm)
def _compiled_gemm(
    op: Any, op_b: Any, n: Any, k: Any, m: Any, a: Any, b: Any, out: Any, add: Any
) -> Any:
    del op, op_b, n, k, m, add
    if any(each.dtype != a.dtype or each.layout != "C" for each in (a, b, out)):
        raise TypingError(f"products need arrays of one type in C order, not {a}, {b} and {out}")
    number, size, word, address = a.dtype, types.int64, types.int32, types.uintp
    array = (address, size)
    arguments = (word, word, word, size, size, size, number, *array, *array, number, *array)
    nothing: Any = types.void
    gemm: Any = types.ExternalFunction(SYMBOLS[number], nothing(*arguments))
    one, zero = (as_dtype(number).type(value) for value in (1, 0))

    def call(op: Any, op_b: Any, n: Any, k: Any, m: Any, a: Any, b: Any, out: Any, add: Any) -> Any:
        gemm(
            ROW_MAJOR, op, op_b, n, m, k,
            one, a.ctypes.data, a.shape[1], b.ctypes.data, b.shape[1],
            one if add else zero, out.ctypes.data, out.shape[1],
        )  # fmt: skip

    return call


@compiled
def times(a: Array, b: Array, out: Array) -> None:
    """Out (n, m) = a (n, k) b (k, m); arrays in C order, like those below."""
    _gemm(AS_IT_IS, AS_IT_IS, len(a), a.shape[1], b.shape[1], a, b, out, False)


@compiled
def times_transposed(a: Array, b: Array, out: Array) -> None:
    """Out (n, m) = a (n, k) bᵀ with b (m, k)."""
    _gemm(AS_IT_IS, TRANSPOSED, len(a), a.shape[1], len(b), a, b, out, False)


@compiled
def transposed_times(a: Array, b: Array, add: bool, out: Array) -> None:
    """Out (n, m) = aᵀ b with a (k, n) and b (k, m); with `add` out + aᵀ b."""
    _gemm(TRANSPOSED, AS_IT_IS, a.shape[1], len(a), b.shape[1], a, b, out, add)
