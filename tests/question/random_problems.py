"""Random networks and minibatches, each as a request and as its reference by explicit loops."""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from hypothesis import strategies as st

from batchgrad import contract
from batchgrad.contract import GradientsRequest
from tests.question.reference_answer import ReferenceAnswer
from tests.question.reference_layers import Shape, Spec, in_a_row, parameter_shapes, shape_after
from tests.question.reference_network import ReferenceNetwork

LOSSES: list[str] = list(contract.LOSSES)
KINDS = list(contract.ACTIVATIONS)
BY_HAND = {
    "linear",
    "layer_norm",
    "group_norm",
    "flatten",
    "embedding",
    "conv1d",
    "conv2d",
    "max_pool2d",
    "avg_pool2d",
    "global_avg_pool",
    "sequence_mean",
    "residual",
}
"""Layers that have a strategy of their own below; others get random fields."""

OTHERS = sorted({*contract.LAYERS} - {*contract.ACTIVATIONS} - BY_HAND)
WEIGHTS = [0.0, 0.5, 1.0, 2.0, 3.25]
FLATTEN = {"kind": "flatten"}


@dataclass(frozen=True)
class RandomProblem:
    """A network, a loss and a minibatch's shape; its numbers come from `seed`.

    `whole_numbers` makes inputs of few whole numbers, so that pooling meets ties. A network
    that begins with an embedding gets ids of shape `input_shape`.
    """

    input_shape: Shape
    layers: list[Spec]
    loss: str
    weights: list[float]
    microbatch_size: int
    seed: int
    whole_numbers: bool = False


def activation() -> st.SearchStrategy[Spec]:
    leaky = st.just({"kind": "leaky_relu", "negative_slope": 0.3})
    elu = st.just({"kind": "elu", "alpha": 0.7})
    plain = st.sampled_from(KINDS).map(lambda kind: {"kind": kind})
    return st.one_of(plain, leaky, elu)


def linear() -> st.SearchStrategy[Spec]:
    return st.fixed_dictionaries(
        {"kind": st.just("linear"), "out_features": st.integers(2, 4), "bias": st.booleans()}
    )


def on_rows() -> st.SearchStrategy[Spec]:
    """Layers that take anything with a last axis."""
    norm = st.sampled_from([{"kind": "layer_norm", "eps": 0.1}, {"kind": "layer_norm"}])
    others = [other(kind) for kind in OTHERS]
    return st.one_of(linear(), linear(), norm, activation(), *others)


def other(kind: str) -> st.SearchStrategy[Spec]:
    """A layer without a strategy of its own: required fields are small whole numbers."""
    fields = contract.LAYERS[kind].model_fields
    required = [name for name, field in fields.items() if field.is_required() and name != "kind"]
    return st.fixed_dictionaries(
        {"kind": st.just(kind), **{name: st.integers(2, 4) for name in required}}
    )


@st.composite
def group_norm(draw: st.DrawFn, channels: int) -> Spec:
    """An eps that counts and two channels or more in a group: else the G below can be 0."""
    groups = [g for g in (1, 2, 3) if channels % g == 0 and channels > g]
    if not groups:
        return draw(activation())
    return {"kind": "group_norm", "num_groups": draw(st.sampled_from(groups)), "eps": 0.1}


@st.composite
def convolution_1d(draw: st.DrawFn, shape: Shape) -> Spec:
    """A convolution that fits (channels, length)."""
    groups = draw(st.sampled_from([g for g in (1, 2, 3) if shape[0] % g == 0]))
    kernel, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    reach = dilation * (kernel - 1)
    return {
        "kind": "conv1d",
        "out_channels": groups * draw(st.integers(1, 2)),
        "kernel_size": kernel,
        "dilation": dilation,
        "stride": draw(st.integers(1, 2)),
        "groups": groups,
        "bias": draw(st.booleans()),
        "padding": draw(st.integers(max(0, -(-(reach + 1 - shape[1]) // 2)), max(1, reach))),
    }


@st.composite
def on_images(draw: st.DrawFn, shape: Shape) -> Spec:
    """Convolution or pooling that fits `shape`, with fields as numbers or as pairs."""
    kind = draw(st.sampled_from(["conv2d", "conv2d", "max_pool2d", "avg_pool2d"]))
    side = st.integers(1, 2)
    kernel = [draw(st.integers(1, min(3, size))) for size in shape[1:]]
    spec: Spec = {"kind": kind, "kernel_size": kernel}
    if draw(st.booleans()):
        spec["stride"] = [draw(side), draw(side)]
    if kind != "conv2d":
        return {**spec, "padding": [draw(st.integers(0, k // 2)) for k in kernel]}
    groups = draw(st.sampled_from([g for g in (1, 2, 3) if shape[0] % g == 0]))
    dilation = draw(st.sampled_from([1, 2, [1, 2]]))
    reach = [d * (k - 1) for d, k in zip(np.ravel([dilation] * 2)[:2], kernel, strict=True)]
    return {
        **spec,
        "out_channels": groups * draw(side),
        "groups": groups,
        "bias": draw(st.booleans()),
        "dilation": dilation,
        "padding": [
            draw(st.integers(max(0, -(-(r + 1 - size) // 2)), max(1, r)))
            for r, size in zip(reach, shape[1:], strict=True)
        ],
    }


@st.composite
def with_residual(draw: st.DrawFn, layers: list[Spec], shape: Shape) -> list[Spec]:
    """The layers and somewhere a residual block, in which there may be another."""
    ids = layers[0]["kind"] == "embedding"
    before = draw(st.integers(int(ids), len(layers)))
    row = in_a_row(layers[:before], (*shape, layers[0]["num_embeddings"]) if ids else shape)
    width = (shape_after(row[-1].spec, row[-1].shape) if row else shape)[-1]
    inner: list[Spec] = draw(st.lists(activation(), max_size=2))
    if draw(st.booleans()):
        inner.append({"kind": "residual", "layers": [draw(activation())]})
    inner.append({"kind": "linear", "out_features": width, "bias": draw(st.booleans())})
    inner += draw(st.lists(activation(), max_size=1))
    return [*layers[:before], {"kind": "residual", "layers": inner}, *layers[before:]]


@st.composite
def minibatch(
    draw: st.DrawFn, shape: Shape, layers: list[Spec], most: int, *, whole: bool = False
) -> RandomProblem:
    """Up to `most` examples for a network, weighted alike or not."""
    layers = draw(st.one_of(st.just(layers), with_residual(layers, shape)))
    examples = draw(st.integers(1, most))
    equal = st.sampled_from(WEIGHTS[1:]).map(lambda each: [each] * examples)
    weight = st.sampled_from(WEIGHTS)
    unequal = st.lists(weight, min_size=examples, max_size=examples).filter(any)
    return RandomProblem(
        shape,
        layers,
        draw(st.sampled_from(LOSSES)),
        draw(st.one_of(equal, unequal)),
        draw(st.integers(1, examples + 1)),
        draw(st.integers(0, 2**32)),
        whole,
    )


@st.composite
def vectors(draw: st.DrawFn) -> RandomProblem:
    shape = draw(st.sampled_from([(2,), (3,), (4,), (2, 2)]))
    layers = draw(st.lists(st.one_of(linear(), linear(), activation()), min_size=1, max_size=5))
    if len(shape) > 1:
        layers.insert(draw(st.integers(0, 1)) if layers[0]["kind"] != "linear" else 0, FLATTEN)
    return draw(minibatch(shape, layers, 9))


@st.composite
def sequences(draw: st.DrawFn) -> RandomProblem:
    """Numbers (T, width), or ids (T,) under an embedding."""
    positions, rows = draw(st.integers(1, 4)), draw(st.integers(2, 4))
    layers: list[Spec] = draw(st.lists(on_rows(), min_size=1, max_size=3))
    shape: Shape = (positions, draw(st.integers(2, 3)))
    if draw(st.booleans()):
        padding = draw(st.one_of(st.none(), st.integers(0, rows - 1)))
        dim = draw(st.integers(2, 3))
        embedding = {"kind": "embedding", "num_embeddings": rows, "embedding_dim": dim}
        layers.insert(0, {**embedding, "padding_idx": padding})
        shape = draw(st.sampled_from([(positions,), (1, positions)]))
    if draw(st.booleans()):
        end = draw(st.sampled_from(["flatten", "sequence_mean"]))
        layers += [{"kind": end}, {"kind": "linear", "out_features": 2}]
    return draw(minibatch(shape, layers, 4))


@st.composite
def signals(draw: st.DrawFn) -> RandomProblem:
    """(channels, length) under convolutions and norms."""
    shape: Shape = (draw(st.integers(1, 4)), draw(st.integers(2, 6)))
    layers: list[Spec] = []
    at = shape
    for _ in range(draw(st.integers(1, 2))):
        layers.append(draw(convolution_1d(at)))
        at = shape_after(layers[-1], at)
        layers += draw(st.lists(st.one_of(activation(), group_norm(at[0])), max_size=2))
    if draw(st.booleans()):
        layers += [{"kind": "global_avg_pool"}, {"kind": "linear", "out_features": 2}]
    elif not 1 < prod(at) <= 8:
        layers += [FLATTEN, {"kind": "linear", "out_features": 2}]
    return draw(minibatch(shape, layers, 3))


@st.composite
def images(draw: st.DrawFn) -> RandomProblem:
    shape = (draw(st.integers(1, 4)), draw(st.integers(2, 4)), draw(st.integers(1, 4)))
    layers: list[Spec] = []
    at: Shape = shape
    for _ in range(draw(st.integers(1, 2))):
        layers.append(draw(on_images(at)))
        at = shape_after(layers[-1], at)
        if draw(st.booleans()):
            layers.append(draw(st.one_of(activation(), group_norm(at[0]))))
    if draw(st.booleans()) and draw(st.booleans()):
        layers += [{"kind": "global_avg_pool"}, {"kind": "linear", "out_features": 2}]
    elif not 1 < prod(at) <= 8 or draw(st.booleans()):
        layers += [FLATTEN, {"kind": "linear", "out_features": 2}]
    pooled = layers[0]["kind"] == "max_pool2d"
    return draw(minibatch(shape, layers, 3, whole=pooled and draw(st.booleans())))


def problem(case: RandomProblem) -> tuple[GradientsRequest, ReferenceAnswer]:
    """The request, and the reference for the same minibatch."""
    random = np.random.default_rng(case.seed)
    examples = len(case.weights)
    inputs, seen = _inputs(case, random)
    parameters: dict[str, Any] = {}
    row = in_a_row(case.layers, seen.shape[1:])
    for at in row:
        for name, own in parameter_shapes(at.spec, at.shape).items():
            parameters[f"{at.name}.{name}"] = random.normal(size=own).tolist()
    width = prod(shape_after(row[-1].spec, row[-1].shape))
    kind = contract.LOSSES[case.loss]  # type: ignore[index]
    smoothing = 0.0
    if kind.target_kind == "class":
        classes = random.integers(0, width, examples)
        rows, targets = np.eye(width)[classes], classes.tolist()
        if width > 1 and random.integers(3) == 0:
            rows = random.dirichlet(np.ones(width), examples)
            targets = rows.tolist()
        if random.integers(3) == 0:
            smoothing = float(random.uniform(0, 0.5))
            rows = (1 - smoothing) * rows + smoothing / width
    else:
        low, high = kind.target_range
        rows = random.uniform(max(low, -2), min(high, 1), (examples, width))
        targets = rows.tolist()
    request = {
        "model": {"layers": case.layers},
        "loss": case.loss,
        "inputs": inputs.tolist(),
        "targets": targets,
        "weights": case.weights,
        "parameters": parameters,
        "microbatch_size": case.microbatch_size,
        "per_example": True,
        "label_smoothing": smoothing,
    }
    network = ReferenceNetwork(case.layers, seen.shape[1:], parameters, case.loss)
    flat = seen.reshape(examples, -1).tolist()
    return GradientsRequest.model_validate(request), ReferenceAnswer(
        network, flat, rows.tolist(), case.weights
    )


def _inputs(case: RandomProblem, random: np.random.Generator) -> tuple[Any, Any]:
    """Inputs of the request and of the reference: the same, or ids and their one-hot rows."""
    size = (len(case.weights), *case.input_shape)
    if case.layers[0]["kind"] == "embedding":
        rows = case.layers[0]["num_embeddings"]
        ids = random.integers(0, rows, size)
        return ids, np.eye(rows)[ids]
    inputs = random.integers(0, 3, size) if case.whole_numbers else random.normal(size=size)
    return inputs, inputs
