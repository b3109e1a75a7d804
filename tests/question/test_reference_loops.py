"""Whole answers against explicit loops and complex steps, on random networks and minibatches."""

from itertools import cycle
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings

from batchgrad_service.questions.gradients import answer
from tests.question.comparison import assert_agrees, flat
from tests.question.random_problems import (
    KINDS,
    LOSSES,
    RandomProblem,
    images,
    problem,
    sequences,
    signals,
    vectors,
)

DEEP: list[dict[str, Any]] = [
    {"kind": "linear", "out_features": 3},
    {"kind": "tanh"},
    {"kind": "linear", "out_features": 2},
]

SUM = {"kind": "residual", "layers": [{"kind": "silu"}, {"kind": "linear", "out_features": 3}]}
BLOCKS = [DEEP[0], {"kind": "residual", "layers": [SUM, {"kind": "tanh"}]}, SUM, DEEP[2]]


@settings(max_examples=150, derandomize=True)
@given(vectors())
@example(RandomProblem((3,), DEEP, "softmax_cross_entropy", [1.0, 0.0, 2.0, 1.0], 2, 1))
@example(RandomProblem((3,), DEEP, "huber", [0.0, 0.0, 2.0, 1.0], 2, 2))
@example(RandomProblem((4,), DEEP, "absolute_error", [2.0], 1, 3))
@example(RandomProblem((3,), [{"kind": "tanh"}], "squared_error", [1.0, 2.0], 1, 4))
@example(RandomProblem((3,), BLOCKS, "squared_error", [1.0, 2.0, 0.5], 2, 5))
def test_every_field_agrees_with_explicit_loops(case: RandomProblem) -> None:
    request, reference = problem(case)

    response = answer(request)

    assert_agrees(response, reference.answer(case.microbatch_size), 1e-10, floor=1e-12)


IMAGE = {"kind": "conv2d", "out_channels": 2, "kernel_size": [2, 1], "padding": [1, 0]}
POINTS = {"kind": "conv2d", "out_channels": 2, "kernel_size": 1}  # equal pixels stay equal
TIED = [POINTS, {"kind": "max_pool2d", "kernel_size": 2, "stride": 1, "padding": 1}, IMAGE]
IDS = {"kind": "embedding", "num_embeddings": 3, "embedding_dim": 2, "padding_idx": 1}
NORM = {"kind": "layer_norm"}
GROUPS = {"kind": "group_norm", "num_groups": 2}


@settings(max_examples=60, derandomize=True)
@given(images())
@example(RandomProblem((1, 3, 3), TIED, "squared_error", [1.0, 2.0], 2, 1, whole_numbers=True))
@example(RandomProblem((2, 3, 2), [IMAGE, NORM], "huber", [2.0, 0.0, 1.0], 2, 2))
def test_images_agree_with_explicit_loops(case: RandomProblem) -> None:
    request, reference = problem(case)

    response = answer(request)

    assert_agrees(response, reference.answer(case.microbatch_size), 1e-10, floor=1e-10)


@settings(max_examples=60, derandomize=True)
@given(signals())
@example(RandomProblem((4, 3), [GROUPS, {"kind": "tanh"}], "huber", [1.0, 3.0, 0.0], 2, 1))
@example(RandomProblem((4,), [GROUPS, DEEP[0]], "squared_error", [1.0, 3.0, 2.0], 2, 1))
def test_signals_agree_with_explicit_loops(case: RandomProblem) -> None:
    request, reference = problem(case)

    response = answer(request)

    # Where a group norm has two numbers, nearly +1 and -1, the gradient below is nearly 0.
    assert_agrees(response, reference.answer(case.microbatch_size), 1e-10, floor=1e-10)


@settings(max_examples=120, derandomize=True)
@given(sequences())
@example(
    RandomProblem((4,), [IDS, {"kind": "tanh"}, DEEP[0]], "squared_error", [1.0, 3.0, 0.0], 2, 1)
)
@example(RandomProblem((2, 2), [IDS, NORM], "absolute_error", [1.0, 2.0], 1, 2))
def test_sequences_and_ids_agree_with_explicit_loops(case: RandomProblem) -> None:
    request, reference = problem(case)

    response = answer(request)

    # Where a layer norm has two numbers, nearly +1 and -1, the gradient below is nearly 0.
    assert_agrees(response, reference.answer(case.microbatch_size), 1e-10, floor=1e-9)


@pytest.mark.parametrize(("kind", "loss"), list(zip(KINDS, cycle(LOSSES), strict=False)))
def test_every_activation_and_every_loss(kind: str, loss: str) -> None:
    """Random pairs of them are tested above."""
    assert len(KINDS) >= len(LOSSES)
    layers = [DEEP[0], {"kind": kind}, DEEP[2]]
    request, reference = problem(
        RandomProblem((3,), layers, loss, [1.0, 0.0, 2.0], 2, LOSSES.index(loss))
    )

    response = answer(request)

    assert_agrees(response, reference.answer(2), 1e-10, floor=1e-12)


@settings(max_examples=30, derandomize=True)
@given(vectors())
def test_the_mean_gradient_is_the_slope_of_the_mean_loss(case: RandomProblem) -> None:
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
