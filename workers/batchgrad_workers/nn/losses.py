"""Losses: for each example its value ℓ_n, summed over outputs, and its error ∂ℓ_n/∂f.

Shapes: outputs f and targets y are (n, outputs); values are (n,), errors (n, outputs).
No loss has a hidden ½ (huber's is its definition) and none divides by N or by the outputs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from batchgrad import contract
from batchgrad.contract import Loss as LossName
from batchgrad_workers.arrays import Array
from batchgrad_workers.nn.kernels import losses as kernels
from batchgrad_workers.nn.special import expit

LossFunction = Callable[[Array, Array], tuple[Array, Array]]


@dataclass(frozen=True)
class Loss:
    """A loss's function, and which examples are right, (n,); None without an accuracy.

    Targets of kind "class" are integers, which become one-hot rows; others are numbers.
    """

    target_kind: contract.TargetKind
    function: LossFunction
    correct: Callable[[Array, Array], Any] | None = None


def squared_error(outputs: Array, targets: Array) -> tuple[Array, Array]:
    """Σ_o (f - y)², error 2 (f - y)."""
    difference = outputs - targets
    return np.square(difference).sum(axis=1), 2 * difference


def absolute_error(outputs: Array, targets: Array) -> tuple[Array, Array]:
    """Σ_o |f - y|, error sign(f - y), 0 at 0."""
    difference = outputs - targets
    return np.abs(difference).sum(axis=1), np.sign(difference)


def huber(outputs: Array, targets: Array) -> tuple[Array, Array]:
    """Σ_o of ½ r² where |r| ≤ 1, else |r| - ½, with r = f - y (Huber 1964, δ = 1)."""
    difference = outputs - targets
    size = np.abs(difference)
    value = np.where(size <= 1, 0.5 * difference * difference, size - 0.5)
    return value.sum(axis=1), np.clip(difference, -1, 1)


def linear_error(outputs: Array, targets: Array) -> tuple[Array, Array]:
    """Σ_o (y - f), error -1: a loss without a minimum, for teaching."""
    return (targets - outputs).sum(axis=1), np.full_like(outputs, -1)


def softmax_cross_entropy(outputs: Array, targets: Array) -> tuple[Array, Array]:
    """-Σ_o y_o log p_o with p = softmax(f), rows of y summing to 1; error p - y.

    With m the largest output and r = Σ_{o≠m} e^(f_o - f_m), the loss is log(1 + r) - Σ_o y_o
    (f_o - f_m) and the error at m is ((1 - y_m) - y_m r)/(1 + r): nothing cancels if p_m is near 1.
    """
    losses, error = np.empty(len(outputs), outputs.dtype), np.empty_like(outputs)
    kernels.softmax_cross_entropy(outputs, targets, losses, error)
    return losses, error


def sigmoid_cross_entropy(outputs: Array, targets: Array) -> tuple[Array, Array]:
    """Σ_o log(1 + e^f) - y f, on logits; error σ(f) - y.

    Computed as max(f, 0) - y f + log(1 + e^-|f|) and (1 - y) σ(f) - y σ(-f): nothing cancels.
    """
    values = np.log1p(np.exp(-np.abs(outputs)))
    values += np.where(outputs > 0, (1 - targets) * outputs, -targets * outputs)
    return values.sum(axis=1), (1 - targets) * expit(outputs) - targets * expit(-outputs)


def _same_class(outputs: Array, targets: Array) -> Any:
    return outputs.argmax(axis=1) == targets.argmax(axis=1)


def _same_side(outputs: Array, targets: Array) -> Any:
    return ((outputs > 0) == (targets > 0.5)).all(axis=1)


_FUNCTIONS: dict[LossName, LossFunction] = {
    "squared_error": squared_error,
    "absolute_error": absolute_error,
    "huber": huber,
    "linear_error": linear_error,
    "softmax_cross_entropy": softmax_cross_entropy,
    "sigmoid_cross_entropy": sigmoid_cross_entropy,
}
_CORRECT: dict[LossName, Callable[[Array, Array], Any]] = {
    "softmax_cross_entropy": _same_class,
    "sigmoid_cross_entropy": _same_side,
}
LOSSES = {
    name: Loss(contract.LOSSES[name].target_kind, function, _CORRECT.get(name))
    for name, function in _FUNCTIONS.items()
}


MOST_KEPT = 256
"""Most classes whose one-hot rows are kept, so that the rows of a microbatch are one `take`."""


@lru_cache
def _one_hot(outputs: int, dtype: np.dtype[Any]) -> Array:
    return np.eye(outputs, dtype=dtype)


def target_rows(
    loss: Loss, targets: Any, outputs: int, dtype: Any, label_smoothing: float = 0.0
) -> Array:
    """Targets as rows (n, outputs): classes as one-hot, values (n,) as one column.

    A class's targets can also be probabilities (n, outputs), which are made to sum to 1. With
    `label_smoothing` ε a row y of a class's becomes (1 - ε) y + ε/outputs (Szegedy et al. 2016).
    """
    if loss.target_kind != "class":
        return np.ascontiguousarray(targets, dtype).reshape(len(targets), -1)
    if targets.ndim == 1 and outputs <= MOST_KEPT:
        rows = _one_hot(outputs, np.dtype(dtype)).take(targets, 0)
    elif targets.ndim == 1:
        rows = np.zeros((len(targets), outputs), dtype)
        rows[np.arange(len(targets)), targets] = 1
    else:
        exact = targets.astype(np.float64)
        rows = (exact / exact.sum(axis=1, keepdims=True)).astype(dtype)
    if label_smoothing:
        rows *= 1 - label_smoothing
        rows += label_smoothing / outputs
    return rows
