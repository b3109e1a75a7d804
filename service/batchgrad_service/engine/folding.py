"""Standardization folded into the first layer, so that a downloaded network takes raw inputs."""

from collections.abc import Mapping

import numpy as np

from batchgrad.contract import Flatten, Identity, Linear, Model
from batchgrad_workers.arrays import Array
from batchgrad_workers.standardization import Standardization

REMEDY = (
    "download without folding, and give the network (x - mean) / deviation: both are in the file."
)


class CannotFold(Exception):
    """The first layer can't take up mean and deviation."""


def fold(
    model: Model, parameters: Mapping[str, Array], standardization: Standardization
) -> tuple[str, dict[str, Array]]:
    """The layer that took it up, and all parameters for raw inputs.

    W (x - mean) / deviation + b = (W / deviation) x + (b - W (mean / deviation)), in float64,
    then rounded to the parameters' own type.

    Raises:
        CannotFold: the model does not begin with a linear layer with a bias, on vectors.
    """
    index = _first_linear(model, standardization.mean.ndim)
    weight, bias = f"{index}.weight", f"{index}.bias"
    mean, deviation = standardization.mean.ravel(), standardization.deviation.ravel()
    exact = parameters[weight].astype(np.float64)
    moved = parameters[bias].astype(np.float64) - exact @ (mean / deviation)
    folded = dict(parameters)
    folded[weight] = (exact / deviation).astype(parameters[weight].dtype)
    folded[bias] = moved.astype(parameters[bias].dtype)
    return str(index), folded


def _first_linear(model: Model, axes: int) -> int:
    """The index of the linear layer on raw inputs, which have so many axes per example."""
    vectors = axes == 1
    for index, layer in enumerate(model.layers):
        if isinstance(layer, Identity):
            continue
        if isinstance(layer, Flatten):
            vectors = True
            continue
        if not isinstance(layer, Linear):
            raise CannotFold(
                f"Layer {index} is {layer.kind}; only a linear layer on the raw inputs can take up "
                f"mean and deviation: {REMEDY}"
            )
        if not vectors:
            raise CannotFold(
                f"Layer {index} is linear on the last of {axes} axes: its weights are shared by "
                f"positions, which have means of their own: {REMEDY}"
            )
        if not layer.bias:
            raise CannotFold(
                f"Layer {index} is linear with bias: false, and only a bias can take up the mean: "
                f"{REMEDY}"
            )
        return index
    raise CannotFold(f"No layer has parameters that could take up mean and deviation: {REMEDY}")
