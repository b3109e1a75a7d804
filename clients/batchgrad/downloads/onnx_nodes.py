"""The nodes of each kind of layer in an ONNX graph."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from batchgrad.downloads.onnx_graph import Graph
from batchgrad.errors import InvalidArgument

Spec = Mapping[str, Any]
"""A layer's keys, as in a spec, with their defaults."""


def add_layers(graph: Graph, layers: Sequence[Spec], prefix: str, value: str) -> str:
    """Add layers; return their output. `prefix` begins the names of their parameters.

    Raises:
        InvalidArgument: a layer has no counterpart.
    """
    for index, spec in enumerate(layers):
        if spec["kind"] not in NODES:
            raise InvalidArgument(
                f"Layer {prefix}{index} is {spec['kind']}, which has no counterpart in ONNX "
                "here: load the parameters into a network of your own."
            )
        value = NODES[spec["kind"]](graph, spec, f"{prefix}{index}.", value)
    return value


def _pair(value: Any) -> list[int]:
    return [value, value] if isinstance(value, int) else [*value]


def _linear(graph: Graph, _: Spec, prefix: str, value: str) -> str:
    weight, *bias = graph.parameters(prefix)
    product = graph.node("MatMul", value, graph.node("Transpose", weight, perm=[1, 0]))
    return graph.node("Add", product, *bias) if bias else product


def _conv(axes: Callable[[Any], list[int]]) -> "Node":
    def add(graph: Graph, spec: Spec, prefix: str, value: str) -> str:
        return graph.node(
            "Conv",
            value,
            *graph.parameters(prefix),
            kernel_shape=axes(spec["kernel_size"]),
            strides=axes(spec["stride"]),
            pads=2 * axes(spec["padding"]),
            dilations=axes(spec["dilation"]),
            group=spec["groups"],
        )

    return add


def _pool(kind: str, **attributes: Any) -> "Node":
    def add(graph: Graph, spec: Spec, _: str, value: str) -> str:
        return graph.node(
            kind,
            value,
            kernel_shape=_pair(spec["kernel_size"]),
            strides=_pair(spec["stride"] or spec["kernel_size"]),
            pads=2 * _pair(spec["padding"]),
            **attributes,
        )

    return add


def _global_avg_pool(graph: Graph, _: Spec, __: str, value: str) -> str:
    return graph.node("Flatten", graph.node("GlobalAveragePool", value), axis=1)


def _sequence_mean(graph: Graph, _: Spec, __: str, value: str) -> str:
    axes = graph.numbers(graph.onnx.TensorProto.INT64, [-2])
    return graph.node("ReduceMean", value, axes, keepdims=0)


def _layer_norm(graph: Graph, spec: Spec, prefix: str, value: str) -> str:
    own = graph.parameters(prefix)
    return graph.node("LayerNormalization", value, *own, axis=-1, epsilon=spec["eps"])


def _group_norm(graph: Graph, spec: Spec, prefix: str, value: str) -> str:
    how = {"num_groups": spec["num_groups"], "epsilon": spec["eps"], "stash_type": graph.number}
    return graph.node("GroupNormalization", value, *graph.parameters(prefix), **how)


def _embedding(graph: Graph, _: Spec, prefix: str, value: str) -> str:
    return graph.node("Gather", *graph.parameters(prefix), value, axis=0)


def _residual(graph: Graph, spec: Spec, prefix: str, value: str) -> str:
    return graph.node("Add", value, add_layers(graph, spec["layers"], prefix, value))


def _gelu(graph: Graph, _: Spec, __: str, value: str) -> str:
    half, root, one = (graph.numbers(graph.number, x) for x in (0.5, 2**0.5, 1.0))
    erf = graph.node("Erf", graph.node("Div", value, root))
    return graph.node("Mul", graph.node("Mul", value, half), graph.node("Add", erf, one))


def _leaky_relu(graph: Graph, spec: Spec, _: str, value: str) -> str:
    """PRelu: the slope of LeakyRelu is an attribute, which is rounded to float32."""
    return graph.node("PRelu", value, graph.numbers(graph.number, [spec["negative_slope"]]))


def _silu(graph: Graph, _: Spec, __: str, value: str) -> str:
    return graph.node("Mul", value, graph.node("Sigmoid", value))


def _same(_: Graph, __: Spec, ___: str, value: str) -> str:
    return value


def _one(kind: str, **attributes: str) -> "Node":
    """A single node; `attributes` are named by keys of the spec."""

    def add(graph: Graph, spec: Spec, _: str, value: str) -> str:
        return graph.node(kind, value, **{name: spec[key] for name, key in attributes.items()})

    return add


Node = Callable[[Graph, Spec, str, str], str]
"""Adds a layer to a graph: spec, prefix of its parameters' names, input; returns its output."""

NODES: dict[str, Node] = {
    "linear": _linear,
    "conv1d": _conv(lambda side: [side]),
    "conv2d": _conv(_pair),
    "max_pool2d": _pool("MaxPool"),
    "avg_pool2d": _pool("AveragePool", count_include_pad=1),
    "global_avg_pool": _global_avg_pool,
    "sequence_mean": _sequence_mean,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "embedding": _embedding,
    "residual": _residual,
    "flatten": lambda graph, _, __, value: graph.node("Flatten", value, axis=1),
    "dropout": _same,
    "identity": _same,
    "relu": _one("Relu"),
    "leaky_relu": _leaky_relu,
    "tanh": _one("Tanh"),
    "sigmoid": _one("Sigmoid"),
    "gelu": _gelu,
    "silu": _silu,
    "softplus": _one("Softplus"),
    "elu": _one("Elu", alpha="alpha"),
}
