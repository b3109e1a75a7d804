"""Recognise images that are not stored as (n, channels, height, width)."""

from collections.abc import Sequence

from batchgrad.contract import (
    AvgPool2d,
    Conv1d,
    Conv2d,
    Flatten,
    GlobalAvgPool,
    Layer,
    LayerNorm,
    Linear,
    MaxPool2d,
    Model,
    Residual,
    SequenceMean,
)
from batchgrad_workers.arrays import Shape

_CHANNELS = (1, 3, 4)
"""Gray, RGB and RGBA."""

_OTHERS = Linear | LayerNorm | Flatten | Conv1d | GlobalAvgPool | SequenceMean
"""Layers that don't take images, or give none."""


def storage_hint(model: Model, input_shape: Shape) -> str | None:
    """How to store the inputs (n, …) as images, if a layer of the model needs images."""
    kind = _first_on_images(model.layers)
    if kind is None:
        return None
    if len(input_shape) == 2:
        return f"{kind} needs (channels, height, width): inputs[:, None] adds a channel axis."
    if not _channels_last(input_shape):
        return None
    height, width, channels = input_shape
    return (
        f"{kind} needs (channels, height, width), so inputs of shape {list(input_shape)} are "
        f"{height} channels of {width} x {channels} pixels. If they are images with {channels} "
        "channel(s) in the last axis, store inputs.transpose(0, 3, 1, 2)."
    )


def _first_on_images(layers: Sequence[Layer]) -> str | None:
    for layer in layers:
        if isinstance(layer, Residual):
            return _first_on_images(layer.layers)
        if isinstance(layer, Conv2d | MaxPool2d | AvgPool2d):
            return layer.kind
        if isinstance(layer, _OTHERS):
            return None
    return None


def _channels_last(shape: Shape) -> bool:
    """Whether (height, width, channels) is more likely than (channels, height, width)."""
    if len(shape) != 3:
        return False
    first, second, last = shape
    return last in _CHANNELS and first not in _CHANNELS and second / 2 <= first <= 2 * second
