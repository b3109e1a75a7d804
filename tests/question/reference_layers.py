"""Reference layers, by explicit loops over places, channels and units, in complex numbers.

An example is a flat list with a shape beside it. An embedding sees one-hot rows, (…, ids).
"""

import cmath
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod, sqrt
from typing import Any

from scipy.special import erf

Vector = list[complex]
Shape = tuple[int, ...]
Spec = dict[str, Any]

ACTIVATIONS: dict[str, Callable[[complex, Spec], complex]] = {
    "identity": lambda a, _: a,
    "tanh": lambda a, _: cmath.tanh(a),
    "sigmoid": lambda a, _: 1 / (1 + cmath.exp(-a)),
    "silu": lambda a, _: a / (1 + cmath.exp(-a)),
    "softplus": lambda a, _: cmath.log(1 + cmath.exp(a)),
    "gelu": lambda a, _: a * (1 + complex(erf(a / sqrt(2)))) / 2,
    "relu": lambda a, _: a if a.real > 0 else 0j,
    "leaky_relu": lambda a, spec: a if a.real > 0 else spec.get("negative_slope", 0.01) * a,
    "elu": lambda a, spec: a if a.real > 0 else spec.get("alpha", 1.0) * (cmath.exp(a) - 1),
}
"""Of one number; a new activation gets a line here."""


CONVOLUTIONS = {"conv1d", "conv2d"}


@dataclass(frozen=True)
class Placed:
    """A layer in the row of all layers: its name, its spec, and the shape that it takes.

    A residual block ends with a sum, whose `begin` is the first layer of the block in the row.
    """

    name: str
    spec: Spec
    shape: Shape
    begin: int | None = None


def in_a_row(specs: Sequence[Spec], shape: Shape, block: str = "", start: int = 0) -> list[Placed]:
    """The layers with those inside of residual blocks."""
    found: list[Placed] = []
    for number, spec in enumerate(specs):
        begin, name = start + len(found), f"{block}{number}"
        if spec["kind"] == "residual":
            found += in_a_row(spec["layers"], shape, f"{name}.", begin)
            found.append(Placed(name, {"kind": "identity"}, shape, begin))
        else:
            found.append(Placed(name, spec, shape))
            shape = shape_after(spec, shape)
    return found


def sides(spec: Spec, name: str, default: Any) -> tuple[int, int]:
    """(height, width) of a field that may be one number or absent; a sequence has height 1."""
    value = spec.get(name, default)
    if spec["kind"] == "conv1d":
        return 0 if name == "padding" else 1, value
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def geometry(spec: Spec) -> list[tuple[int, int, int, int]]:
    """Kernel, stride, padding and dilation, for rows and for columns."""
    pool = spec["kind"] not in CONVOLUTIONS
    fields = (
        sides(spec, "kernel_size", None),
        sides(spec, "stride", spec["kernel_size"] if pool else 1),
        sides(spec, "padding", 0),
        sides(spec, "dilation", 1),
    )
    return list(zip(*fields, strict=True))


def shape_after(spec: Spec, shape: Shape) -> Shape:  # noqa: PLR0911  (a table of layers)
    """Shape of one example's output."""
    match spec["kind"]:
        case "linear":
            return (*shape[:-1], spec["out_features"])
        case "embedding":
            return (*shape[:-1], spec["embedding_dim"])
        case "flatten":
            return (prod(shape),)
        case "global_avg_pool":
            return shape[:1]
        case "sequence_mean":
            return (*shape[:-2], shape[-1])
        case "conv1d" | "conv2d" | "max_pool2d" | "avg_pool2d":
            places = [
                (size + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1
                for size, (kernel, stride, pad, dilation) in zip(
                    shape[1:], geometry(spec)[1 - len(shape) :], strict=True
                )
            ]
            return (spec.get("out_channels", shape[0]), *places)
        case _:
            return shape


def parameter_shapes(spec: Spec, shape: Shape) -> dict[str, Shape]:
    """Weight and bias, as PyTorch shapes them."""
    match spec["kind"]:
        case "linear":
            shapes: dict[str, Shape] = {"weight": (spec["out_features"], shape[-1])}
            out = spec["out_features"]
        case "conv1d" | "conv2d":
            channels = shape[0] // spec.get("groups", 1)
            kernel = sides(spec, "kernel_size", None)[1 - len(shape) :]
            shapes = {"weight": (spec["out_channels"], channels, *kernel)}
            out = spec["out_channels"]
        case "embedding":
            return {"weight": (spec["num_embeddings"], spec["embedding_dim"])}
        case "layer_norm":
            return {"weight": (shape[-1],), "bias": (shape[-1],)}
        case "group_norm":
            return {"weight": (shape[0],), "bias": (shape[0],)}
        case _:
            return {}
    return {**shapes, "bias": (out,)} if spec.get("bias", True) else shapes


def output(spec: Spec, shape: Shape, own: Sequence[complex], a: Sequence[complex]) -> Vector:
    """Output of a layer with parameters `own`, weight then bias, at input a."""
    kind = spec["kind"]
    if kind in ACTIVATIONS:
        return [ACTIVATIONS[kind](each, spec) for each in a]
    return LAYERS[kind](spec, shape, own, a)


def _linear(spec: Spec, shape: Shape, own: Sequence[complex], a: Sequence[complex]) -> Vector:
    width, out = shape[-1], spec["out_features"]
    outputs = []
    for start in range(0, len(a), width):
        for o in range(out):
            z = complex(own[out * width + o]) if spec.get("bias", True) else 0j
            for i in range(width):
                z += own[o * width + i] * a[start + i]
            outputs.append(z)
    return outputs


def _embedding(spec: Spec, _: Shape, own: Sequence[complex], a: Sequence[complex]) -> Vector:
    rows, dim = spec["num_embeddings"], spec["embedding_dim"]
    return [
        sum((a[start + row] * own[row * dim + d] for row in range(rows)), 0j)
        for start in range(0, len(a), rows)
        for d in range(dim)
    ]


def _normalized(spec: Spec, row: Sequence[complex]) -> Vector:
    centre = sum(row, 0j) / len(row)
    variance = sum(((x - centre) ** 2 for x in row), 0j) / len(row)
    deviation = cmath.sqrt(variance + spec.get("eps", 1e-5))
    return [(x - centre) / deviation for x in row]


def _layer_norm(spec: Spec, shape: Shape, own: Sequence[complex], a: Sequence[complex]) -> Vector:
    width = shape[-1]
    outputs: Vector = []
    for start in range(0, len(a), width):
        row = _normalized(spec, a[start : start + width])
        outputs += [own[i] * x + own[width + i] for i, x in enumerate(row)]
    return outputs


def _group_norm(spec: Spec, shape: Shape, own: Sequence[complex], a: Sequence[complex]) -> Vector:
    channels, places = shape[0], prod(shape[1:])
    size = len(a) // spec["num_groups"]
    outputs: Vector = []
    for start in range(0, len(a), size):
        for i, x in enumerate(_normalized(spec, a[start : start + size]), start):
            outputs.append(own[i // places] * x + own[channels + i // places])
    return outputs


def _global_avg_pool(_: Spec, shape: Shape, __: Sequence[complex], a: Sequence[complex]) -> Vector:
    places = prod(shape[1:])
    return [sum(a[c * places : (c + 1) * places], 0j) / places for c in range(shape[0])]


def _sequence_mean(_: Spec, shape: Shape, __: Sequence[complex], a: Sequence[complex]) -> Vector:
    positions, width = shape[-2:]
    return [
        sum((a[start + t * width + i] for t in range(positions)), 0j) / positions
        for start in range(0, len(a), positions * width)
        for i in range(width)
    ]


def _seen(spec: Spec, shape: Shape, row: int, column: int) -> Iterator[tuple[int, int | None]]:
    """For each place in the kernel: its number, and the pixel that it meets, None in padding."""
    shape = shape if len(shape) == 3 else (shape[0], 1, shape[1])
    (kh, sh, ph, dh), (kw, sw, pw, dw) = geometry(spec)
    for number, (i, j) in enumerate(product(range(kh), range(kw))):
        y, x = row * sh + i * dh - ph, column * sw + j * dw - pw
        inside = 0 <= y < shape[1] and 0 <= x < shape[2]
        yield number, y * shape[2] + x if inside else None


def _convolution(spec: Spec, shape: Shape, own: Sequence[complex], a: Sequence[complex]) -> Vector:
    after = shape_after(spec, shape)
    out, down, across = after[0], prod(after[1:-1]), after[-1]
    groups, (kh, kw) = spec.get("groups", 1), sides(spec, "kernel_size", None)
    channels, pixels = shape[0] // groups, prod(shape[1:])
    outputs = []
    for o, row, column in product(range(out), range(down), range(across)):
        z = complex(own[out * channels * kh * kw + o]) if spec.get("bias", True) else 0j
        first = o // (out // groups) * channels
        for c in range(channels):
            for number, pixel in _seen(spec, shape, row, column):
                if pixel is not None:
                    place = (o * channels + c) * kh * kw + number
                    z += own[place] * a[(first + c) * pixels + pixel]
        outputs.append(z)
    return outputs


def _pool(spec: Spec, shape: Shape, _: Sequence[complex], a: Sequence[complex]) -> Vector:
    channels, down, across = shape_after(spec, shape)
    (kh, kw), pixels = sides(spec, "kernel_size", None), shape[1] * shape[2]
    outputs = []
    for c, row, column in product(range(channels), range(down), range(across)):
        window = [
            a[c * pixels + pixel]
            for _, pixel in _seen(spec, shape, row, column)
            if pixel is not None
        ]
        if spec["kind"] == "avg_pool2d":
            outputs.append(sum(window, 0j) / (kh * kw))
        else:
            outputs.append(max(window, key=lambda each: each.real))  # of equal ones the first
    return outputs


LAYERS: dict[str, Callable[[Spec, Shape, Sequence[complex], Sequence[complex]], Vector]] = {
    "linear": _linear,
    "flatten": lambda _spec, _shape, _own, a: list(a),
    "dropout": lambda _spec, _shape, _own, a: list(a),
    "conv1d": _convolution,
    "conv2d": _convolution,
    "max_pool2d": _pool,
    "avg_pool2d": _pool,
    "global_avg_pool": _global_avg_pool,
    "sequence_mean": _sequence_mean,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "embedding": _embedding,
}
"""A new layer gets a line here, in `parameter_shapes`, and in `shape_after` if it changes it."""
