"""Warn of a network whose outputs do not suit its loss and targets: legal, but probably wrong."""

from collections.abc import Iterator
from math import exp, inf, log, tanh
from typing import Any

import numpy.typing as npt

from batchgrad.contract import LOSSES, Activation, Flatten, Identity, JobSpec, Layer
from batchgrad_service.validation.class_names import range_of
from batchgrad_service.validation.warnings.samples import take_sample
from batchgrad_workers.arrays import Integers
from batchgrad_workers.nn.network import Network


def output_warnings(
    spec: JobSpec,
    network: Network,
    targets: npt.NDArray[Any],
    present: Integers | None,
    classes: int | None,
    names: list[str] | None = None,
) -> list[str]:
    """The warnings; `targets` are the dataset's.

    `present` are the rows that the job uses, None for all. `classes` is the highest class plus 1,
    None if targets are numbers or probabilities of classes; `names` are theirs.
    """
    loss = LOSSES[spec.network_loss]
    if loss.link == "softmax":
        known = classes or network.outputs
        return [*_choice(network, known, names), *_squeezed_logits(spec, network)]
    if loss.link == "sigmoid":
        return [*_squeezed_logits(spec, network)]
    if not loss.has_minimum:
        return []  # has a warning of its own
    return [*_out_of_reach(spec, targets, present)]


def _choice(network: Network, classes: int, names: list[str] | None) -> Iterator[str]:
    """Softmax chooses one class among all outputs."""
    outputs, shape = network.outputs, network.output_shape
    if outputs == 1:
        yield (
            "The softmax of one output is always 1: loss and gradient are always 0. Give the last "
            "layer an output for each class, 2 or more. For a yes-or-no answer with one output use "
            "loss: sigmoid_cross_entropy."
        )
    elif outputs != classes and sum(side > 1 for side in shape) > 1:
        product = " · ".join(map(str, shape))
        yield (
            f"The network's output has shape {list(shape)}, and softmax_cross_entropy chooses one "
            f"class among all {product} = {outputs} numbers; the dataset has {classes} classes. "
            f"For one class per example, end with flatten and a linear layer with out_features: "
            f"{classes}. There is no softmax for a target at each position: use loss: "
            f"sigmoid_cross_entropy and store one-hot numbers for each position, flattened to "
            f"(n, {outputs})."
        )
    elif outputs > classes:
        surplus = (
            f"output {classes} has"
            if outputs == classes + 1
            else f"outputs {classes} to {outputs - 1} have"
        )
        yield (
            f"The network has {outputs} outputs, the dataset has {classes} classes "
            f"({range_of(classes, names)}): {surplus} no example and can only be wrong. Give the "
            f"last layer out_features: {classes}."
        )


def _squeezed_logits(spec: JobSpec, network: Network) -> Iterator[str]:
    """Both cross entropies need logits, which can be any number."""
    found = _last_range(spec)
    if found is None:
        return
    kind, low, high = found
    fault = f"The last layer is {kind}, but {spec.loss} needs logits, which can be any number"
    link = LOSSES[spec.network_loss].link
    remedy = f"Remove the {kind}: the loss has its own {link}."
    if link == "sigmoid":
        least = f"{_logistic(low):.1%}"
        most = "" if high == inf else f" or above {_logistic(high):.1%}"
        same = " So the network answers yes for every example." if low >= 0 else ""
        yield f"{fault}: no probability can be below {least}{most}.{same} {remedy}"
    elif high < inf and network.outputs > 1:
        others = network.outputs - 1
        best = 1 / (1 + others * exp(low - high))
        yield (
            f"{fault}: with {network.outputs} outputs from {low:g} to {high:g} no probability is "
            f"above {best:.1%} and no loss below {-log(best):.4g}. {remedy}"
        )
    elif kind in {"relu", "leaky_relu"}:
        yield (
            f"{fault}: an output that {kind} sets to 0 has no gradient, and stays 0 if that "
            f"happens for all examples. {remedy}"
        )
    else:
        yield f"{fault}: no output can be below {low:g}. {remedy}"


def _out_of_reach(
    spec: JobSpec, targets: npt.NDArray[Any], present: Integers | None
) -> Iterator[str]:
    """Targets that are numbers must be in the range of the last layer's outputs."""
    found = _last_range(spec)
    if found is None:
        return
    kind, low, high = found
    sample = take_sample(targets, present)
    lowest, highest = float(sample.lowest.min()), float(sample.highest.max())
    if lowest < low or highest > high:
        most = "above" if high == inf else f"between {low:g} and {high:g}"
        reach = f"{most} {low:g}" if high == inf else most
        yield (
            f"The last layer is {kind}, whose outputs are {reach}; the targets range from "
            f"{lowest:g} to {highest:g}. The network cannot reach all of them. Remove the {kind}, "
            "or scale the targets."
        )


def _last_range(spec: JobSpec) -> tuple[str, float, float] | None:
    """Kind, minimum and maximum of the last layer that changes numbers; None if unbounded."""
    layer = _last(spec.model.layers)
    if not isinstance(layer, Activation) or layer.output_range == (-inf, inf):
        return None
    return (layer.kind, *layer.output_range)


def _last(layers: list[Layer]) -> Layer | None:
    """The last layer that changes numbers; pooling counts, it may follow relu (SqueezeNet)."""
    return next((x for x in reversed(layers) if not isinstance(x, Flatten | Identity)), None)


def _logistic(logit: float) -> float:
    return (1 + tanh(logit / 2)) / 2  # the same as 1 / (1 + exp(-logit)), which may overflow
