"""Make layers from their specs, on inputs of a known shape."""

from math import prod

from batchgrad import contract
from batchgrad.contract.model import SingleLayer
from batchgrad_workers.arrays import Shape
from batchgrad_workers.nn.activations import make_activation
from batchgrad_workers.nn.layers.base import Layer, ShapeMismatch
from batchgrad_workers.nn.layers.conv import Conv2d
from batchgrad_workers.nn.layers.conv1d import Conv1d
from batchgrad_workers.nn.layers.dropout import Dropout
from batchgrad_workers.nn.layers.elementwise import Elementwise, Flatten
from batchgrad_workers.nn.layers.embedding import Embedding
from batchgrad_workers.nn.layers.linear import Linear
from batchgrad_workers.nn.layers.normalization import GroupNorm, LayerNorm
from batchgrad_workers.nn.layers.pooling import AvgPool2d, MaxPool2d, Mean
from batchgrad_workers.nn.layers.windows import Windows, pair

MAX_PADDED = 2**24
"""Limit on the size of a padded image, if most of it is padding."""


def make_layer(  # noqa: C901, PLR0911, PLR0912  (a table of layers)
    spec: SingleLayer, input_shape: Shape, *, first: bool
) -> Layer:
    """The layer that `spec` describes; `first` if its inputs are the data.

    Raises:
        ShapeMismatch: the layer does not accept inputs of this shape.
    """
    match spec:
        case contract.Embedding():
            if not first:
                raise ShapeMismatch(
                    "embedding takes integer ids, the layer below gives numbers: make it the "
                    "first layer."
                )
            return Embedding(input_shape, spec.num_embeddings, spec.embedding_dim, spec.padding_idx)
        case contract.Linear() | contract.LayerNorm() if not input_shape:
            raise ShapeMismatch(f"{spec.kind} needs at least one axis, got a single number.")
        case contract.Linear():
            return Linear(input_shape, spec.out_features, spec.bias)
        case contract.LayerNorm():
            return LayerNorm(input_shape, spec.eps)
        case contract.GroupNorm():
            return _group_norm(spec, input_shape)
        case contract.Conv1d():
            return _convolution_1d(spec, input_shape)
        case contract.Conv2d():
            return _convolution_2d(spec, input_shape)
        case contract.MaxPool2d():
            return MaxPool2d(_pool_windows(spec, input_shape))
        case contract.AvgPool2d():
            return AvgPool2d(_pool_windows(spec, input_shape))
        case contract.GlobalAvgPool():
            _check_axes(spec.kind, input_shape, "(channels, height, width) or (channels, length)")
            return Mean(input_shape, slice(1, None))
        case contract.SequenceMean():
            _check_axes(spec.kind, input_shape, "(positions, width)")
            return Mean(input_shape, slice(-2, -1))
        case contract.Flatten():
            return Flatten(input_shape)
        case contract.Dropout():
            return Dropout(input_shape, spec.p)
        case contract.Activation():
            return Elementwise(input_shape, make_activation(spec))


def _convolution_1d(spec: contract.Conv1d, input_shape: Shape) -> Conv1d:
    if len(input_shape) != 2 or not prod(input_shape):
        channel = "; inputs[:, None] adds a channel axis" if len(input_shape) == 1 else ""
        raise ShapeMismatch(
            f"conv1d takes sequences (channels, length), got shape {list(input_shape)}: store the "
            f"inputs as (n, channels, length){channel}."
        )
    channels, length = input_shape
    windows = Windows(
        (channels, 1, length),
        (1, spec.kernel_size),
        (1, spec.stride),
        (0, spec.padding),
        (1, spec.dilation),
    )
    return Conv1d(_convolution(spec, windows))


def _convolution_2d(spec: contract.Conv2d, input_shape: Shape) -> Conv2d:
    _check_image(spec.kind, input_shape)
    windows = Windows(
        input_shape,
        pair(spec.kernel_size),
        pair(spec.stride),
        pair(spec.padding),
        pair(spec.dilation),
    )
    return _convolution(spec, windows)


def _convolution(spec: contract.Conv1d | contract.Conv2d, windows: Windows) -> Conv2d:
    for name, channels in (("input", windows.input_shape[0]), ("out", spec.out_channels)):
        if channels % spec.groups:
            raise ShapeMismatch(
                f"{spec.kind} has groups: {spec.groups}, which does not divide its {channels} "
                f"{name} channels."
            )
    _check_output_size(spec.kind, windows)
    return Conv2d(windows, spec.out_channels, spec.groups, spec.bias)


def _group_norm(spec: contract.GroupNorm, input_shape: Shape) -> GroupNorm:
    if not prod(input_shape) or not input_shape:
        raise ShapeMismatch(
            f"group_norm takes channels, (channels, …), got shape {list(input_shape)}."
        )
    if input_shape[0] % spec.num_groups:
        raise ShapeMismatch(
            f"group_norm has num_groups: {spec.num_groups}, which does not divide its "
            f"{input_shape[0]} channels."
        )
    return GroupNorm(input_shape, spec.num_groups, spec.eps)


def _pool_windows(spec: contract.MaxPool2d | contract.AvgPool2d, input_shape: Shape) -> Windows:
    _check_image(spec.kind, input_shape)
    kernel, padding = pair(spec.kernel_size), pair(spec.padding)
    if any(2 * pad > side for pad, side in zip(padding, kernel, strict=True)):
        raise ShapeMismatch(
            f"{spec.kind} has padding {list(padding)}, more than half of its kernel "
            f"{list(kernel)}: a window could lie in the padding alone."
        )
    windows = Windows(input_shape, kernel, pair(spec.stride or spec.kernel_size), padding)
    _check_output_size(spec.kind, windows)
    return windows


def _check_axes(kind: str, input_shape: Shape, taken: str) -> None:
    if len(input_shape) < 2 or not prod(input_shape):
        raise ShapeMismatch(
            f"{kind} takes {taken}, got shape {list(input_shape)}: remove it, or put it where the "
            "layer below gives such a shape."
        )


def _check_image(kind: str, input_shape: Shape) -> None:
    if len(input_shape) != 3 or not prod(input_shape):
        raise ShapeMismatch(
            f"{kind} takes images (channels, height, width), got shape {list(input_shape)}: "
            "store the inputs as (n, channels, height, width)."
        )


def _check_output_size(kind: str, windows: Windows) -> None:
    axes, inputs = (1, "sequences") if kind == "conv1d" else (2, "images")

    def shown(sides: tuple[int, ...]) -> str:
        return str(list(sides[-axes:]))

    if min(windows.output_size) < 1:
        raise ShapeMismatch(
            f"{kind} with kernel {shown(windows.kernel)} and dilation {shown(windows.dilation)} "
            f"does not fit into {inputs} {shown(windows.input_shape)} with padding "
            f"{shown(windows.padding)}."
        )
    padded = prod(windows.padded_shape)
    if padded > max(MAX_PADDED, 2 * prod(windows.input_shape)):
        raise ShapeMismatch(
            f"{kind} with padding {shown(windows.padding)} makes {inputs} "
            f"{list(windows.input_shape)} into {list(windows.padded_shape)}, {padded} numbers "
            f"each; at most {MAX_PADDED} are allowed: use less padding."
        )
