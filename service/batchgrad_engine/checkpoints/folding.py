"""Fold standardization into the first layer, so that a downloaded network takes raw inputs."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from batchgrad.contract import Dropout, Flatten, Identity, Linear, Model, Precision
from batchgrad_workers.arrays import Array
from batchgrad_workers.data.input_transform import (
    InputTransform,
    name_of_input,
    standardization_of,
)
from batchgrad_workers.data.standardization import Standardization

REMEDY = (
    "download without folding, and give the network (x - mean) / deviation: both are in the file."
)

TOLERANCE = 1e-3
"""Largest error of the first layer's outputs after folding, relative to their usual size."""


class CannotFold(Exception):
    """The first layer can't absorb mean and deviation."""


def fold(
    model: Model,
    parameters: Mapping[str, Array],
    transform: InputTransform,
    precision: Precision | None = None,
) -> tuple[str, dict[str, Array]]:
    """The name of the changed layer, and all parameters, in `precision` if given.

    The network then takes inputs that are not standardized.

    W (x - mean) / deviation + b = V x + (b - V mean) with V = W / deviation, in float64, then
    rounded. The bias uses the rounded V, so that at the mean only the bias's rounding remains.

    Raises:
        CannotFold: the model does not begin with a linear layer with a bias, on vectors; or the
            precision is too small for the folded numbers.
    """
    standardization = standardization_of(transform)
    if standardization is None:
        raise CannotFold("The inputs are not standardized: download without folding.")
    index = _first_linear(model, standardization.mean.ndim)
    weight, bias = f"{index}.weight", f"{index}.bias"
    mean, deviation = standardization.mean.ravel(), standardization.deviation.ravel()
    dtype: np.dtype[np.floating[Any]] = np.dtype(precision or parameters[weight].dtype)
    own, offset = (parameters[name].astype(np.float64) for name in (weight, bias))
    folded: dict[str, Array] = {name: array.astype(dtype) for name, array in parameters.items()}
    with np.errstate(over="ignore", invalid="ignore"):
        folded[weight] = (own / deviation).astype(dtype)
        folded[bias] = (offset - folded[weight].astype(np.float64) @ mean).astype(dtype)
        rounding = _rounding(folded[weight], folded[bias], mean, deviation)
        usual = np.sqrt(np.square(own).sum(axis=1)) + np.abs(offset)
        error = float(np.nan_to_num(rounding / np.where(usual > 0, usual, 1.0), nan=np.inf).max())
    if error > TOLERANCE:
        raise CannotFold(_too_coarse(dtype, error, standardization, transform))
    return str(index), folded


def _rounding(weight: Array, bias: Array, mean: Array, deviation: Array) -> Array:
    """Bound on the rounding error of each output (out,) of V x + c, for x = mean ± deviation.

    V (out, in) and c (out,) are in their own dtype, as are inputs, products and sums.
    """
    unit = np.finfo(weight.dtype).eps / 2
    largest = np.abs(weight).astype(np.float64) @ (np.abs(mean) + deviation)
    return unit * (largest + np.abs(bias))


def _too_coarse(
    dtype: np.dtype[np.floating[Any]],
    error: float,
    standardization: Standardization,
    transform: InputTransform,
) -> str:
    mean, deviation = standardization.mean.ravel(), standardization.deviation.ravel()
    far = np.abs(mean) / deviation
    worst = int(far.argmax())
    remedy = f"fold in float64 (precision=float64), or {REMEDY}"
    return (
        f"In {dtype.name} the folded network would compute other outputs: its first layer's could "
        f"be off by {error:.2g} of their size, since the mean of "
        f"{name_of_input(transform, worst)}, {mean[worst]:.6g}, is {far[worst]:.3g} "
        "deviations from 0: " + (REMEDY if dtype == np.float64 else remedy)
    )


def _first_linear(model: Model, axes: int) -> int:
    """The index of the linear layer on raw inputs, which have `axes` axes per example."""
    vectors = axes == 1
    for index, layer in enumerate(model.layers):
        if isinstance(layer, Identity | Dropout):
            continue
        if isinstance(layer, Flatten):
            vectors = True
            continue
        if not isinstance(layer, Linear):
            raise CannotFold(
                f"Layer {index} is {layer.kind}; only a linear layer on the raw inputs can absorb "
                f"mean and deviation: {REMEDY}"
            )
        if not vectors:
            raise CannotFold(
                f"Layer {index} is linear on the last of {axes} axes: positions with different "
                f"means use the same weights: {REMEDY}"
            )
        if not layer.bias:
            raise CannotFold(
                f"Layer {index} is linear with bias: false, and only a bias can absorb the mean: "
                f"{REMEDY}"
            )
        return index
    raise CannotFold(f"No layer has parameters that could absorb mean and deviation: {REMEDY}")
