"""Recognise images that are stored otherwise than (n, channels, height, width)."""

from batchgrad.contract import AvgPool2d, Conv2d, Flatten, LayerNorm, Linear, MaxPool2d, Model
from batchgrad_workers.arrays import Shape

_CHANNELS = (1, 3, 4)
"""Gray, red-green-blue, and that with transparency."""


def how_to_store(model: Model, input_shape: Shape) -> str | None:
    """What makes the inputs (n, …) images, if the model's first layer on images gets others."""
    kind = _first_on_images(model)
    if kind is None:
        return None
    if len(input_shape) == 2:
        return f"{kind} takes (channels, height, width): inputs[:, None] adds the one channel."
    if not _channels_last(input_shape):
        return None
    height, width, channels = input_shape
    return (
        f"{kind} takes (channels, height, width), and reads inputs of shape {list(input_shape)} as "
        f"{height} channels of {width} x {channels} pixels. If they are images of {channels} "
        "channel(s), channels last, store inputs.transpose(0, 3, 1, 2)."
    )


def _first_on_images(model: Model) -> str | None:
    for layer in model.layers:
        if isinstance(layer, Conv2d | MaxPool2d | AvgPool2d):
            return layer.kind
        if isinstance(layer, Linear | LayerNorm | Flatten):
            return None
    return None


def _channels_last(shape: Shape) -> bool:
    """Whether (height, width, channels) is likelier than (channels, height, width)."""
    if len(shape) != 3:
        return False
    first, second, last = shape
    return last in _CHANNELS and first not in _CHANNELS and second / 2 <= first <= 2 * second
