"""Whole answers against explicit loops and complex steps, on drawn networks and minibatches."""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batchgrad.contract import GradientsRequest
from batchgrad_service.question import answer
from tests.question.agreeing import assert_agrees, flat
from tests.question.slow import Slow
from tests.question.slow_answer import SlowAnswer

LOSSES = [
    "squared_error",
    "absolute_error",
    "huber",
    "linear_error",
    "softmax_cross_entropy",
    "sigmoid_cross_entropy",
]
KINDS = ["identity", "relu", "leaky_relu", "tanh", "sigmoid", "gelu", "silu", "softplus", "elu"]
WEIGHTS = [0.0, 0.5, 1.0, 2.0, 3.25]


@dataclass(frozen=True)
class Drawn:
    """A network, a loss and a minibatch's shape; its numbers come from `seed`."""

    input_shape: tuple[int, ...]
    layers: list[dict[str, Any]]
    loss: str
    weights: list[float]
    microbatch_size: int
    seed: int


def layer() -> st.SearchStrategy[dict[str, Any]]:
    linear = st.fixed_dictionaries(
        {"kind": st.just("linear"), "out_features": st.integers(2, 4), "bias": st.booleans()}
    )
    leaky = st.just({"kind": "leaky_relu", "negative_slope": 0.3})
    elu = st.just({"kind": "elu", "alpha": 0.7})
    plain = st.sampled_from(KINDS).map(lambda kind: {"kind": kind})
    return st.one_of(linear, linear, plain, leaky, elu)


@st.composite
def drawn(draw: st.DrawFn) -> Drawn:
    shape = draw(st.sampled_from([(2,), (3,), (4,), (2, 2)]))
    layers = draw(st.lists(layer(), min_size=1, max_size=5))
    if len(shape) > 1:
        layers.insert(draw(st.integers(0, 1)) if layers[0]["kind"] != "linear" else 0, FLATTEN)
    examples = draw(st.integers(1, 9))
    weight = st.sampled_from(WEIGHTS)
    equal = st.sampled_from(WEIGHTS[1:]).map(lambda each: [each] * examples)
    unequal = st.lists(weight, min_size=examples, max_size=examples).filter(any)
    return Drawn(
        shape,
        layers,
        draw(st.sampled_from(LOSSES)),
        draw(st.one_of(equal, unequal)),
        draw(st.integers(1, examples + 1)),
        draw(st.integers(0, 2**32)),
    )


FLATTEN = {"kind": "flatten"}
DEEP: list[dict[str, Any]] = [
    {"kind": "linear", "out_features": 3},
    {"kind": "tanh"},
    {"kind": "linear", "out_features": 2},
]


def problem(case: Drawn) -> tuple[GradientsRequest, SlowAnswer]:
    """The request, and the same minibatch for the slow road."""
    random = np.random.default_rng(case.seed)
    examples, width = len(case.weights), prod(case.input_shape)
    inputs = random.normal(size=(examples, *case.input_shape))
    parameters: dict[str, Any] = {}
    for k, spec in enumerate(case.layers):
        if spec["kind"] == "linear":
            parameters[f"{k}.weight"] = random.normal(size=(spec["out_features"], width)).tolist()
            width = spec["out_features"]
            if spec.get("bias", True):
                parameters[f"{k}.bias"] = random.normal(size=width).tolist()
    if case.loss == "softmax_cross_entropy":
        classes = random.integers(0, width, examples)
        rows, targets = np.eye(width)[classes], classes.tolist()
    else:
        probabilities = case.loss == "sigmoid_cross_entropy"
        rows = random.uniform(0 if probabilities else -2, 1, (examples, width))
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
    }
    slow = Slow(case.layers, parameters, case.loss)
    vectors = inputs.reshape(examples, -1).tolist()
    return GradientsRequest.model_validate(request), SlowAnswer(
        slow, vectors, rows.tolist(), case.weights
    )


@settings(max_examples=150, deadline=None, derandomize=True)
@given(drawn())
@example(Drawn((3,), DEEP, "softmax_cross_entropy", [1.0, 0.0, 2.0, 1.0], 2, 1))
@example(Drawn((3,), DEEP, "huber", [0.0, 0.0, 2.0, 1.0], 2, 2))
@example(Drawn((4,), DEEP, "absolute_error", [2.0], 1, 3))
@example(Drawn((3,), [{"kind": "tanh"}], "squared_error", [1.0, 2.0], 1, 4))
def test_every_field_agrees_with_the_slow_road(case: Drawn) -> None:
    request, slow = problem(case)

    response = answer(request)

    assert_agrees(response, slow.answer(case.microbatch_size), 1e-10, floor=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_activation_with_every_loss(kind: str, loss: str) -> None:
    layers = [DEEP[0], {"kind": kind}, DEEP[2]]
    request, slow = problem(Drawn((3,), layers, loss, [1.0, 0.0, 2.0], 2, LOSSES.index(loss)))

    response = answer(request)

    assert_agrees(response, slow.answer(2), 1e-10, floor=1e-12)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(drawn())
def test_the_mean_gradient_is_the_slope_of_the_mean_loss(case: Drawn) -> None:
    """∇(Σ w ℓ / Σ w) by central differences of the answered loss alone."""
    request, _ = problem(case)
    direction = {
        name: np.random.default_rng(1).normal(size=np.shape(value))
        for name, value in (request.parameters or {}).items()
    }

    def loss(step: float) -> float:
        moved = {
            name: (np.asarray(value) + step * direction[name]).tolist()
            for name, value in (request.parameters or {}).items()
        }
        return answer(request.model_copy(update={"parameters": moved})).loss

    slope = (loss(1e-6) - loss(-1e-6)) / 2e-6

    along = float(np.dot(flat(answer(request).mean_gradient), flat(direction)))
    assert slope == pytest.approx(along, rel=1e-5, abs=1e-6)
