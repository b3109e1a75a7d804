"""A small network around every kind of layer, and minibatches for it."""

from typing import Any

import numpy as np

from batchgrad.contract import ACTIVATIONS, LAYERS, Model
from batchgrad_workers.arrays import Array, Shape
from batchgrad_workers.nn.gradients import Differentiator, Microbatch
from batchgrad_workers.nn.losses import LOSSES
from batchgrad_workers.nn.means import MeansLayout
from batchgrad_workers.nn.network import Network
from batchgrad_workers.randomness import example_keys

Layers = list[dict[str, Any]]
HEAD: dict[str, Any] = {"kind": "linear", "out_features": 3}
BELOW: dict[str, Any] = {"kind": "conv2d", "out_channels": 4, "kernel_size": 3, "padding": 1}
SIGNAL: dict[str, Any] = {"kind": "conv1d", "out_channels": 4, "kernel_size": 3, "padding": 1}
POOL = {"kernel_size": [3, 2], "stride": 2, "padding": [1, 0]}
BLOCK: dict[str, Any] = {
    "kind": "residual",
    "layers": [{"kind": "silu"}, {"kind": "dropout", "p": 0.3}, HEAD, {"kind": "gelu"}],
}
IDS = {"kind": "embedding", "num_embeddings": 5, "embedding_dim": 3}
IMAGE: Shape = (2, 5, 4)


def smallest(kind: str) -> dict[str, Any]:
    """A layer of this kind whose required fields are small whole numbers."""
    fields = LAYERS[kind].model_fields
    required = {name: 3 for name, field in fields.items() if field.is_required()}
    return {**required, "kind": kind}


STACKS: dict[str, tuple[Shape, Layers]] = {
    "linear": ((5,), [{"kind": "linear", "out_features": 4}, HEAD]),
    "linear without bias": ((5,), [{"kind": "linear", "out_features": 4, "bias": False}]),
    "linear on few positions": ((2, 6), [{"kind": "linear", "out_features": 5}, HEAD]),
    "linear on many positions": ((7, 3), [{"kind": "linear", "out_features": 2}, HEAD]),
    "linear on images": (IMAGE, [{"kind": "linear", "out_features": 2}]),
    "flatten": (IMAGE, [{"kind": "tanh"}, {"kind": "flatten"}, HEAD]),
    "layer_norm": ((6,), [{"kind": "linear", "out_features": 4}, {"kind": "layer_norm"}, HEAD]),
    "layer_norm on a sequence": ((4, 6), [{"kind": "layer_norm"}, HEAD]),
    "conv2d": (IMAGE, [BELOW, {"kind": "tanh"}, {**BELOW, "padding": 0}]),
    "conv2d, few places": ((3, 3, 3), [{**BELOW, "out_channels": 5, "padding": 0}]),
    "conv2d, groups": (
        (4, 6, 5),
        [{**BELOW, "groups": 2, "stride": [2, 1], "dilation": [1, 2], "bias": False}],
    ),
    "conv2d, groups, few places": (
        (4, 3, 3),
        [{**BELOW, "groups": 2, "out_channels": 6, "padding": 0}, {"kind": "flatten"}, HEAD],
    ),
    "max_pool2d": (IMAGE, [BELOW, {"kind": "max_pool2d", **POOL}, {"kind": "flatten"}, HEAD]),
    "avg_pool2d": (IMAGE, [BELOW, {"kind": "avg_pool2d", **POOL}, {"kind": "flatten"}, HEAD]),
    "conv1d": ((2, 7), [SIGNAL, {"kind": "tanh"}, {**SIGNAL, "padding": 0}]),
    "conv1d, groups, few places": (
        (4, 5),
        [{**SIGNAL, "groups": 2, "stride": 2, "dilation": 2, "bias": False}, HEAD],
    ),
    "group_norm on images": (IMAGE, [BELOW, {"kind": "group_norm", "num_groups": 2}, BELOW]),
    "group_norm": ((6,), [HEAD, {"kind": "group_norm", "num_groups": 1, "eps": 0.1}, HEAD]),
    "global_avg_pool": (IMAGE, [BELOW, {"kind": "tanh"}, {"kind": "global_avg_pool"}, HEAD]),
    "global_avg_pool of sequences": ((2, 7), [SIGNAL, {"kind": "global_avg_pool"}]),
    "sequence_mean": ((4, 6), [HEAD, {"kind": "tanh"}, {"kind": "sequence_mean"}, HEAD]),
    "residual": ((5,), [HEAD, BLOCK, HEAD]),
    "residual first and last": ((4, 3), [{**BLOCK, "layers": [BLOCK, BLOCK]}]),
    "residual below parameters": (
        (3,),
        [{"kind": "residual", "layers": [{"kind": "silu"}]}, BLOCK, {**HEAD, "out_features": 5}],
    ),
    "residual on images": (
        IMAGE,
        [BELOW, {"kind": "residual", "layers": [{"kind": "silu"}, BELOW]}, BELOW],
    ),
    "embedding": ((6,), [IDS, HEAD]),
    "embedding with padding": ((2, 3), [{**IDS, "padding_idx": 2}, {"kind": "tanh"}, HEAD]),
    "elementwise": ((5,), [HEAD, *({"kind": kind} for kind in ACTIVATIONS), HEAD]),
}
STACKS |= {
    kind: ((5,), [HEAD, smallest(kind), HEAD])
    for kind in LAYERS
    if all(kind != layer["kind"] for _, layers in STACKS.values() for layer in layers)
}


def network(name: str) -> Network:
    """The network of one stack."""
    shape, layers = STACKS[name]
    return Network(Model.model_validate({"layers": layers}), shape)


def microbatch(
    of: Network, examples: int, dtype: str = "float64", seed: int = 2
) -> tuple[Array, Microbatch]:
    """θ (P,) and some weighted examples with squared-error targets; ids repeat."""
    random = np.random.default_rng(seed)
    size = (examples, *of.input_shape)
    inputs: Any = random.normal(size=size).astype(dtype)
    if of.takes_ids:
        inputs = random.integers(0, 5, size)
    return random.normal(size=of.size).astype(dtype), Microbatch(
        inputs,
        random.normal(size=(examples, of.outputs)).astype(dtype),
        random.integers(0, 4, examples).astype(dtype),
        keys=example_keys(seed, 0, np.arange(examples)),
    )


def differentiator(of: Network) -> Differentiator:
    """Sums with every option."""
    return Differentiator(of, LOSSES["squared_error"], MeansLayout(of), True)


def rows(each: dict[str, Array]) -> Array:
    """g_n (n, P) from gradients by name."""
    return np.concatenate([own.reshape(len(own), -1) for own in each.values()], axis=1)
