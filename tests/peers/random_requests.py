"""Make random networks and minibatches from seeds, from the whole contract, with extreme rows."""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from batchgrad import contract
from batchgrad.contract import Model
from batchgrad_workers.nn.layers import ShapeMismatch
from batchgrad_workers.nn.network import Network

Spec = dict[str, Any]
Random = np.random.Generator

ELEMENTWISE: list[Spec] = [
    *({"kind": kind} for kind in contract.ACTIVATIONS),
    {"kind": "dropout"},
    {"kind": "leaky_relu", "negative_slope": 0.3},
    {"kind": "elu", "alpha": 0.7},
]
LOSSES = list(contract.LOSSES)
ROWS = ["drawn", "drawn", "equal", "alike", "constant", "zero", "mixed"]
"""Drawn; the same at each position; nearly so; one number; 0; one of a thousand times the size."""

SIZES = {
    "float32": [1.0, 1.0, 1e-3, 1e3, 1e-9, 1e9, 1e-25, 1e15],
    "float64": [1.0, 1.0, 1e-3, 1e3, 1e-15, 1e30, 1e-170, 1e140],
}
PARAMETER_SIZES = [1.0, 1.0, 0.01, 5.0, 0.0]
MOST_PARAMETERS = 2000


@dataclass(frozen=True)
class Case:
    """A request for POST /v1/gradients as a mapping, and the kind of its rows."""

    seed: int
    rows: str
    request: dict[str, Any]


def draw(seed: int) -> Case:
    """The case of a seed."""
    random = np.random.default_rng(seed)
    precision = str(random.choice(["float32", "float64"]))
    layers, network = _network(random)
    rows = str(random.choice(ROWS))
    input_size = random.choice(SIZES[precision])
    if any(spec["kind"] == "max_pool2d" for spec in layers[1:]):
        rows, input_size = "drawn", 1.0  # of numbers that rounding sets apart any is the largest
    if any(spec["kind"] == "group_norm" for spec in layers) and rows in ("equal", "constant"):
        rows = "drawn"  # errors at equal numbers sum to 0, which noise sets apart
    examples = int(random.integers(1, 6))
    loss = str(random.choice(LOSSES))
    inputs = _inputs(random, network, rows, examples, input_size)
    size = random.choice(PARAMETER_SIZES)
    theta = {
        each.name: random.normal(size=each.shape) * size / max(1, prod(each.shape[1:])) ** 0.5
        for each in network.slices
    }
    weights = random.choice([0.0, 0.5, 1.0, 3.25], examples)
    weights[random.integers(examples)] = 1.0
    dtype, smoothing = np.dtype(precision), float(random.choice([0.0, 0.0, 0.1, 0.5]))
    request = {
        "model": {"layers": layers},
        "loss": loss,
        "inputs": (inputs if network.takes_ids else _rounded(inputs, dtype)).tolist(),
        "targets": _targets(random, loss, examples, network.outputs, dtype),
        "weights": weights.tolist() if random.random() < 0.5 else None,
        "parameters": {name: _rounded(own, dtype).tolist() for name, own in theta.items()},
        "precision": precision,
        "microbatch_size": int(random.integers(1, examples + 2)),
        "per_example": True,
        "label_smoothing": smoothing if loss == "softmax_cross_entropy" else 0.0,
    }
    return Case(seed, rows, request)


def _rounded(numbers: Any, dtype: Any) -> Any:
    """The numbers as the engine rounds them, so that both computations start from the same."""
    return numbers.astype(dtype).astype(np.float64)


def _network(random: Random) -> tuple[list[Spec], Network]:
    while True:
        kind = random.choice(["vectors", "sequences", "images", "signals", "ids"])
        shape, layers = {
            "vectors": _vectors,
            "sequences": _sequences,
            "images": _images,
            "signals": _signals,
            "ids": _ids,
        }[str(kind)](random)
        try:
            if random.integers(3) == 0:
                layers = _with_residual(random, layers, shape)
            network = Network(Model.model_validate({"layers": layers}), shape)
        except ShapeMismatch:
            continue
        if 0 < network.size <= MOST_PARAMETERS and 1 < network.outputs <= 200:
            return layers, network


def _with_residual(random: Random, layers: list[Spec], shape: tuple[int, ...]) -> list[Spec]:
    """The layers, and somewhere a residual block, in which there may be another."""
    before = int(random.integers(1, len(layers) + 1))
    first = Model.model_validate({"layers": layers[:before]})
    width = Network(first, shape).output_shape[-1:]
    if not width:
        return layers
    block = [*_several(random), {**_linear(random), "out_features": width[0]}]
    if random.integers(2):
        block.insert(1, {"kind": "residual", "layers": [_pick(random, ELEMENTWISE)]})
    return [*layers[:before], {"kind": "residual", "layers": block}, *layers[before:]]


def _pick(random: Random, options: list[Any]) -> Any:
    return options[random.integers(len(options))]


def _linear(random: Random, most: int = 9) -> Spec:
    return {
        "kind": "linear",
        "out_features": int(random.integers(1, most)),
        "bias": bool(random.integers(2)),
    }


def _on_rows(random: Random) -> Spec:
    norm = {"kind": "layer_norm", "eps": _pick(random, [1e-5, 0.1, 1e-12])}
    return _pick(random, [_linear(random), _linear(random, 30), norm, _pick(random, ELEMENTWISE)])


def _several(random: Random) -> list[Spec]:
    return [_on_rows(random) for _ in range(random.integers(1, 5))]


def _group_norm(random: Random) -> Spec:
    groups = int(_pick(random, [1, 1, 2, 3]))
    return {"kind": "group_norm", "num_groups": groups, "eps": _pick(random, [1e-5, 0.1, 1e-12])}


def _head(random: Random, mean: str) -> list[Spec]:
    end = _pick(random, ["flatten", mean])
    return [{"kind": end}, *([_linear(random)] if random.random() < 0.6 else [])]


def _vectors(random: Random) -> tuple[tuple[int, ...], list[Spec]]:
    return (int(random.integers(1, 30)),), _several(random)


def _sequences(random: Random) -> tuple[tuple[int, ...], list[Spec]]:
    positions = int(_pick(random, [1, 2, 3, 5, 17]))
    layers = _several(random)
    return (positions, int(random.integers(1, 24))), layers + (
        _head(random, "sequence_mean") if random.integers(2) else []
    )


def _ids(random: Random) -> tuple[tuple[int, ...], list[Spec]]:
    rows = int(random.integers(1, 7))
    embedding = {
        "kind": "embedding",
        "num_embeddings": rows,
        "embedding_dim": int(random.integers(1, 9)),
        "padding_idx": _pick(random, [None, int(random.integers(rows))]),
    }
    shape = _pick(random, [(3,), (1,), (2, 4), (12,)])
    head = _head(random, "sequence_mean") if random.integers(2) else []
    return shape, [embedding, *_several(random), *head]


def _images(random: Random) -> tuple[tuple[int, ...], list[Spec]]:
    def pair(low: int, high: int) -> Any:
        one = int(random.integers(low, high))
        return _pick(random, [one, [one, int(random.integers(low, high))]])

    shape = tuple(int(side) for side in (random.integers(1, 9), *random.integers(2, 8, 2)))
    layers: list[Spec] = []
    for _ in range(random.integers(1, 3)):
        kind = _pick(random, ["conv2d", "conv2d", "max_pool2d", "avg_pool2d"])
        spec: Spec = {"kind": kind, "kernel_size": pair(1, 4), "padding": pair(0, 2)}
        if random.integers(2):
            spec["stride"] = pair(1, 3)
        if kind == "conv2d":
            groups = int(_pick(random, [1, 1, 2, 3]))
            spec |= {
                "out_channels": groups * int(random.integers(1, 8)),
                "groups": groups,
                "dilation": pair(1, 3),
                "bias": bool(random.integers(2)),
            }
        layers += [spec, *_between(random)]
    return shape, layers + (_head(random, "global_avg_pool") if random.random() < 0.8 else [])


def _signals(random: Random) -> tuple[tuple[int, ...], list[Spec]]:
    layers: list[Spec] = []
    for _ in range(random.integers(1, 3)):
        groups = int(_pick(random, [1, 1, 2, 3]))
        spec = {
            "kind": "conv1d",
            "out_channels": groups * int(random.integers(1, 8)),
            "kernel_size": int(random.integers(1, 5)),
            "padding": int(random.integers(3)),
            "stride": int(random.integers(1, 3)),
            "dilation": int(random.integers(1, 3)),
            "groups": groups,
            "bias": bool(random.integers(2)),
        }
        layers += [spec, *_between(random)]
    head = _head(random, "global_avg_pool") if random.random() < 0.8 else []
    return (int(random.integers(1, 9)), int(random.integers(2, 24))), layers + head


def _between(random: Random) -> list[Spec]:
    """What may follow a convolution."""
    return _pick(random, [[], [_pick(random, ELEMENTWISE)], [_group_norm(random)]])


def _inputs(random: Random, network: Network, rows: str, examples: int, size: float) -> Any:
    shape = (examples, *network.input_shape)
    if network.takes_ids:
        ids = network.layers[0].mean_shape[-1]
        if rows in ("equal", "constant", "zero"):
            return np.zeros(shape, np.int64) + random.integers(ids)
        return random.integers(0, ids, shape)
    if rows == "zero":
        return np.zeros(shape)
    inputs = random.normal(size=shape)
    if rows == "constant":
        inputs = np.broadcast_to(random.normal(size=(examples, *[1] * (len(shape) - 1))), shape)
    if rows in ("equal", "alike"):  # at each position, or each pixel
        if len(shape) == 4:
            one = random.normal(size=(examples, shape[1], 1, 1))
        else:
            one = random.normal(size=(examples, *[1] * (len(shape) - 2), shape[-1]))
        inputs = one + (1e-4 * inputs if rows == "alike" else 0 * inputs)
    if rows == "mixed":
        inputs[random.integers(examples)] *= 1e3
    return inputs * size


def _targets(random: Random, loss: str, examples: int, outputs: int, dtype: Any) -> Any:
    kind = contract.LOSSES[loss]  # type: ignore[index]
    if kind.target_kind == "class" and outputs > 1 and random.integers(4) == 0:
        return random.dirichlet(np.ones(outputs), examples).tolist()
    if kind.target_kind == "class":
        return random.integers(0, outputs, examples).tolist()
    if kind.target_kind == "probability":
        return random.choice([0.0, 1.0, 1.0, 0.25], (examples, outputs)).tolist()
    targets = random.normal(size=(examples, outputs)) * random.choice([1.0, 1e-6, 1e6])
    return _rounded(targets.clip(*kind.target_range), dtype).tolist()
