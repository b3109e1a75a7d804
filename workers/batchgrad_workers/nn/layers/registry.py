"""Make layers from their specs, on inputs of a known shape."""

from math import prod

from batchgrad import contract
from batchgrad_workers.arrays import Shape
from batchgrad_workers.nn.activations import make_activation
from batchgrad_workers.nn.layers.base import Layer, ShapeMismatch
from batchgrad_workers.nn.layers.conv import Conv2d
from batchgrad_workers.nn.layers.elementwise import Elementwise, Flatten
from batchgrad_workers.nn.layers.embedding import Embedding
from batchgrad_workers.nn.layers.linear import Linear
from batchgrad_workers.nn.layers.normalization import LayerNorm
from batchgrad_workers.nn.layers.pooling import AvgPool2d, MaxPool2d
from batchgrad_workers.nn.layers.windows import Windows, pair

MAX_PADDED = 2**24
"""Limit on the size of a padded image, if most of it is padding."""


def make_layer(  # noqa: C901, PLR0911  (a table of layers)
    spec: contract.Layer, input_shape: Shape, *, first: bool
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
        case contract.Conv2d():
            return _convolution(spec, input_shape)
        case contract.MaxPool2d():
            return MaxPool2d(_pool_windows(spec, input_shape))
        case contract.AvgPool2d():
            return AvgPool2d(_pool_windows(spec, input_shape))
        case contract.Flatten():
            return Flatten(input_shape)
        case contract.Activation():
            return Elementwise(input_shape, make_activation(spec))


def _convolution(spec: contract.Conv2d, input_shape: Shape) -> Conv2d:
    _check_image(spec.kind, input_shape)
    for name, channels in (("input", input_shape[0]), ("out", spec.out_channels)):
        if channels % spec.groups:
            raise ShapeMismatch(
                f"conv2d has groups: {spec.groups}, which does not divide its {channels} {name} "
                "channels."
            )
    windows = Windows(
        input_shape,
        pair(spec.kernel_size),
        pair(spec.stride),
        pair(spec.padding),
        pair(spec.dilation),
    )
    _check_output_size(spec.kind, windows)
    return Conv2d(windows, spec.out_channels, spec.groups, spec.bias)


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


def _check_image(kind: str, input_shape: Shape) -> None:
    if len(input_shape) != 3 or not prod(input_shape):
        raise ShapeMismatch(
            f"{kind} takes images (channels, height, width), got shape {list(input_shape)}: "
            "store the inputs as (n, channels, height, width)."
        )


def _check_output_size(kind: str, windows: Windows) -> None:
    if min(windows.output_size) < 1:
        raise ShapeMismatch(
            f"{kind} with kernel {list(windows.kernel)} and dilation {list(windows.dilation)} does "
            f"not fit into images {list(windows.input_shape[1:])} with padding "
            f"{list(windows.padding)}."
        )
    padded = prod(windows.padded_shape)
    if padded > max(MAX_PADDED, 2 * prod(windows.input_shape)):
        raise ShapeMismatch(
            f"{kind} with padding {list(windows.padding)} makes images "
            f"{list(windows.input_shape)} into {list(windows.padded_shape)}, {padded} numbers "
            f"each; at most {MAX_PADDED} are allowed: use less padding."
        )
