"""The layer of each kind of module of torch.nn."""

from collections.abc import Callable
from typing import Any

from torch import nn

from batchgrad.errors import InvalidArgument
from batchgrad.torch.networks.modules import ChannelMean, SequenceMean

Spec = dict[str, Any]
MIXING = (nn.modules.batchnorm._BatchNorm, nn.SyncBatchNorm)  # noqa: SLF001 (all of its kinds)


def layer_of(name: str, module: Any, following: Any) -> Spec:
    """The layer for a module, whose outputs the module `following` takes, if there is one.

    Raises:
        InvalidArgument: it has none; the message names it and says what to do.
    """
    if isinstance(module, MIXING):
        raise _refused(
            name,
            module,
            "it mixes the examples of a minibatch, so no example has a gradient of its own: use "
            "GroupNorm or LayerNorm",
        )
    if isinstance(module, nn.Softmax | nn.LogSoftmax):
        raise _refused(name, module, "loss: softmax_cross_entropy contains it: remove the module")
    if isinstance(module, nn.AdaptiveAvgPool1d | nn.AdaptiveAvgPool2d):
        sizes = module.output_size
        if set(sizes if isinstance(sizes, tuple) else [sizes]) != {1}:
            raise _refused(name, module, "only an output of size 1 has one, global_avg_pool")
        if not isinstance(following, nn.Flatten):
            raise _refused(
                name, module, "global_avg_pool drops the axes: put nn.Flatten() after it"
            )
        return {"kind": "global_avg_pool"}
    if type(module) not in LAYERS:
        kinds = ", ".join(sorted(kind.__name__ for kind in LAYERS))
        raise _refused(name, module, f"those that have one are {kinds}")
    layer, plain = LAYERS[type(module)]
    for key, value in plain.items():
        if getattr(module, key) != value:
            raise _refused(
                name, module, f"{key} is {getattr(module, key)!r}; only {value!r} has one"
            )
    return layer(module)


def _refused(name: str, module: Any, why: str) -> InvalidArgument:
    kind = type(module).__name__
    return InvalidArgument(f"Module {name}, {kind}, has no counterpart in batchgrad: {why}.")


def _fields(kind: str, *keys: str) -> Callable[[Any], Spec]:
    """A layer with these attributes of the module."""
    return lambda module: {"kind": kind, **{key: getattr(module, key) for key in keys}}


def _conv(kind: str) -> Callable[[Any], Spec]:
    def layer(module: Any) -> Spec:
        if isinstance(module.padding, str) and module.padding != "valid":
            raise InvalidArgument(
                f"{type(module).__name__} has padding {module.padding!r}: give it as a number."
            )
        keys = ("kernel_size", "stride", "padding", "dilation")
        sides = {key: getattr(module, key) for key in keys}
        if module.padding == "valid":
            sides["padding"] = tuple(0 for _ in module.kernel_size)
        one = {key: _sides(side) for key, side in sides.items()}
        return {
            "kind": kind,
            "out_channels": module.out_channels,
            **one,
            "groups": module.groups,
            "bias": module.bias is not None,
        }

    return layer


def _pool(kind: str) -> Callable[[Any], Spec]:
    keys = ("kernel_size", "stride", "padding")
    return lambda module: {"kind": kind, **{key: _sides(getattr(module, key)) for key in keys}}


def _sides(given: int | tuple[int, ...]) -> int | list[int]:
    """One number, if all are equal."""
    if isinstance(given, int):
        return given
    return given[0] if len(set(given)) == 1 else list(given)


def _linear(module: Any) -> Spec:
    bias = module.bias is not None
    return {"kind": "linear", "out_features": module.out_features, "bias": bias}


def _layer_norm(module: Any) -> Spec:
    if len(module.normalized_shape) != 1 or module.bias is None:
        raise InvalidArgument(
            f"LayerNorm over {list(module.normalized_shape)} has no counterpart in batchgrad: only "
            "one over the last axis, with weight and bias, has one."
        )
    return {"kind": "layer_norm", "eps": module.eps}


LAYERS: dict[Any, tuple[Callable[[Any], Spec], Spec]] = {
    nn.Linear: (_linear, {}),
    nn.Conv1d: (_conv("conv1d"), {"padding_mode": "zeros"}),
    nn.Conv2d: (_conv("conv2d"), {"padding_mode": "zeros"}),
    nn.MaxPool2d: (
        _pool("max_pool2d"),
        {"dilation": 1, "ceil_mode": False, "return_indices": False},
    ),
    nn.AvgPool2d: (
        _pool("avg_pool2d"),
        {"ceil_mode": False, "count_include_pad": True, "divisor_override": None},
    ),
    nn.LayerNorm: (_layer_norm, {"elementwise_affine": True}),
    nn.GroupNorm: (_fields("group_norm", "num_groups", "eps"), {"affine": True}),
    nn.Embedding: (
        _fields("embedding", "num_embeddings", "embedding_dim", "padding_idx"),
        {"max_norm": None, "scale_grad_by_freq": False},
    ),
    nn.Flatten: (_fields("flatten"), {"start_dim": 1, "end_dim": -1}),
    nn.Dropout: (_fields("dropout", "p"), {}),
    nn.Identity: (_fields("identity"), {}),
    nn.ReLU: (_fields("relu"), {}),
    nn.LeakyReLU: (_fields("leaky_relu", "negative_slope"), {}),
    nn.Tanh: (_fields("tanh"), {}),
    nn.Sigmoid: (_fields("sigmoid"), {}),
    nn.GELU: (_fields("gelu"), {"approximate": "none"}),
    nn.SiLU: (_fields("silu"), {}),
    nn.Softplus: (_fields("softplus"), {"beta": 1.0}),
    nn.ELU: (_fields("elu", "alpha"), {}),
    ChannelMean: (_fields("global_avg_pool"), {}),
    SequenceMean: (_fields("sequence_mean"), {}),
}
"""The layer of each kind of module, and the attributes that must have these values."""
