"""A layer with its definitions alone: sums, norms, shortcuts and figures follow."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from batchgrad_workers.arrays import Array, Shape
from batchgrad_workers.nn import chunks, network
from batchgrad_workers.nn.layers import Layer, Parameters, make_layer
from batchgrad_workers.nn.layers.base import BaseLayer
from tests.question.comparison import flat
from tests.question.sample_requests import ask

WIDTHS = 3, 4
HEAD = {"kind": "linear", "out_features": 2}


@dataclass(frozen=True)
class Dense(BaseLayer):
    """z_no = Σ_i W_oi a_ni + b_o, with nothing but what a layer must define."""

    input_shape: Shape

    @property
    def output_shape(self) -> Shape:
        return (WIDTHS[1],)

    @property
    def parameter_shapes(self) -> dict[str, Shape]:
        return {"weight": WIDTHS[::-1], "bias": WIDTHS[1:]}

    def initial(self, random: np.random.Generator) -> dict[str, Any]:
        return {name: random.normal(size=shape) for name, shape in self.parameter_shapes.items()}

    def forward(self, parameters: Parameters, inputs: Array) -> Array:
        return inputs @ parameters["weight"].T + parameters["bias"]

    def backward(
        self, parameters: Parameters, inputs: Array, outputs: Array, error: Array
    ) -> Array:
        del inputs, outputs
        return error @ parameters["weight"]

    def each_gradient(self, inputs: Array, error: Array) -> dict[str, Array]:
        return {"weight": np.einsum("no,ni->noi", error, inputs), "bias": error}


def made(spec: Any, input_shape: Shape, *, first: bool) -> Layer:
    """In place of an identity, the new layer."""
    own = spec.kind == "identity"
    return Dense(input_shape) if own else make_layer(spec, input_shape, first=first)


@pytest.mark.parametrize("chunk_bytes", [1, 2**24])
def test_a_layer_of_definitions_gives_what_the_fast_one_gives(
    chunk_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole answers, with the examples' gradients formed at once and one by one."""
    random = np.random.default_rng(0)
    shapes = {"0.weight": (3, 3), "0.bias": (3,), "1.weight": (4, 3), "1.bias": (4,)}
    shapes |= {"2.weight": (2, 4), "2.bias": (2,)}
    request = {
        "loss": "squared_error",
        "inputs": random.normal(size=(7, 3)).tolist(),
        "targets": random.normal(size=(7, 2)).tolist(),
        "weights": [1, 0, 2, 1, 3, 0.5, 1],
        "microbatch_size": 4,
        "parameters": {name: random.normal(size=own).tolist() for name, own in shapes.items()},
        "per_example": True,
    }
    first = {"kind": "linear", "out_features": 3}
    expected = ask(
        model={"layers": [first, {"kind": "linear", "out_features": 4}, HEAD]}, **request
    )
    monkeypatch.setattr(network, "make_layer", made)
    monkeypatch.setattr(chunks.chunks, "__defaults__", (chunk_bytes,))

    found = ask(model={"layers": [first, {"kind": "identity"}, HEAD]}, **request)

    assert found.loss == pytest.approx(expected.loss, rel=1e-14)
    assert found.norms == pytest.approx(expected.norms, rel=1e-12)
    assert flat(found.mean_gradient) == pytest.approx(flat(expected.mean_gradient), rel=1e-12)
    for one, other in zip(found.per_example or [], expected.per_example or [], strict=True):
        assert flat(one) == pytest.approx(flat(other), rel=1e-12)
    for name, shortcut in found.shortcuts.items():
        right = expected.shortcuts[name]
        assert flat(shortcut.gradient) == pytest.approx(flat(right.gradient), rel=1e-10)
        assert shortcut.relative_error == pytest.approx(right.relative_error, rel=1e-10)
    assert found.noise_scale is not None
