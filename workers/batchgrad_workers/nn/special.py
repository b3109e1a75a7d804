"""scipy's special functions, imported at the first call: a fifth of an engine's imports."""

from functools import cache
from typing import Any

from batchgrad_workers.arrays import Array


def erfc(a: Array) -> Any:
    """1 - erf(a), of each number."""
    return _scipy().erfc(a)


def expit(a: Array) -> Any:
    """1/(1 + e^-a), of each number."""
    return _scipy().expit(a)


def softmax(outputs: Array, axis: int) -> Any:
    """e^f / Σ e^f along the axis."""
    return _scipy().softmax(outputs, axis=axis)


def log_softmax(outputs: Array, axis: int) -> Any:
    """Log of `softmax`, without overflow."""
    return _scipy().log_softmax(outputs, axis=axis)


@cache
def _scipy() -> Any:
    from scipy import special  # noqa: PLC0415 (at the first call)

    return special
