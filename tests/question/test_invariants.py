"""Invariants of every network and minibatch, to rounding."""

from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from batchgrad.contract import GradientsResponse
from batchgrad_engine.measurement.shortcuts import AVERAGED_ERROR, FROZEN, MEAN_EXAMPLE, Shortcuts
from batchgrad_service.questions.gradients import answer
from batchgrad_workers.reduction.sums import WEIGHT
from tests.question.comparison import flat
from tests.question.random_problems import (
    RandomProblem,
    images,
    problem,
    sequences,
    signals,
    vectors,
)
from tests.workers.stacks import STACKS, differentiator, microbatch, network

ANY = st.one_of(vectors(), sequences(), images(), signals())
SHORTCUTS = ("averaged_error", "mean_example")


def gradients(response: GradientsResponse) -> list[Any]:
    """G and the two shortcuts, which see the minibatch as a whole."""
    found = [response.mean_gradient, *(response.shortcuts[name].gradient for name in SHORTCUTS)]
    return [flat(gradient) for gradient in found]


@settings(max_examples=80, derandomize=True)
@given(ANY)
def test_shares_sum_to_one(case: RandomProblem) -> None:
    """Σ ⟨w_n g_n, G⟩ / (Σw ‖G‖²), by gradients and weights as a reader of the answer has them."""
    request, _ = problem(case)
    response = answer(request)
    mean, weights = flat(response.mean_gradient), np.array(case.weights)

    each = np.stack([flat(own) for own in response.per_example or []])

    size = np.abs(weights @ np.abs(each @ mean)) + 1e-300
    assert abs(weights @ (each @ mean) - weights.sum() * (mean @ mean)) <= 1e-12 * size
    assert_allclose(np.array(response.norms), np.linalg.norm(each, axis=1), rtol=1e-10, atol=1e-14)


@settings(max_examples=80, derandomize=True)
@given(ANY, st.integers(0, 2**32))
def test_twice_the_minibatch_in_any_order_is_the_same_minibatch(
    case: RandomProblem, seed: int
) -> None:
    request, _ = problem(case)
    order = np.random.default_rng(seed).permutation(np.tile(np.arange(len(case.weights)), 2))
    rows = {
        name: [getattr(request, name)[n] for n in order]
        for name in ("inputs", "targets", "weights")
    }
    once, twice = answer(request), answer(request.model_copy(update=rows))

    assert twice.loss == pytest.approx(once.loss, rel=1e-12)
    assert_allclose(np.array(twice.norms), np.array(once.norms)[order], rtol=1e-10, atol=1e-12)
    for own, other in zip(gradients(once), gradients(twice), strict=True):
        assert_allclose(other, own, rtol=1e-9, atol=1e-9 * (1 + np.abs(own).max(initial=0)))


PRODUCTS = [
    name for name in STACKS if not name.startswith(("layer_norm", "group_norm", "embedding"))
]


@pytest.mark.parametrize("name", PRODUCTS)
def test_covariance_and_propagation_are_vectors_that_make_up_the_gap(name: str) -> None:
    """Where z is linear in a and in θ, the covariance is mean vjp(a_n - ā, δ_n - δ̄)."""
    of = network(name)
    theta, batch = microbatch(of, 6)
    batch = batch._replace(weights=batch.weights + 0.5)
    views, own = of.drawing(of.views(theta), batch.keys), differentiator(of)
    sums, _, _ = own.sums(of.views(theta), batch)
    assert own.means is not None
    weight = float(sums.totals[WEIGHT])
    means = own.means.means(sums.means, weight)
    shortcuts = Shortcuts(of, own.loss)
    rows = shortcuts.rows(theta[None], own.means.means(sums.means[None], weight))
    exact, frozen = sums.gradient / weight, shortcuts.gradient(rows, FROZEN)
    covariance = np.zeros_like(exact)
    activations = of.forward(views, batch.inputs)
    errors = dict(_errors(of, views, activations, batch))
    for k in of.learning:
        centred = activations[k] - means.inputs[k], errors[k] - means.errors[k]
        for local, each in of.layers[k].each_gradient(*centred).items():
            of.views(covariance)[k][local][...] = np.tensordot(batch.weights, each, 1) / weight

    assert_allclose(exact - frozen, covariance, atol=1e-11 * np.abs(exact).max())
    assert np.linalg.norm(covariance) > 1e-3 * np.linalg.norm(exact)
    for place in (AVERAGED_ERROR, MEAN_EXAMPLE):
        shortcut = shortcuts.gradient(rows, place)
        propagation = frozen - shortcut
        assert_allclose(
            covariance + propagation, exact - shortcut, atol=1e-11 * np.abs(exact).max()
        )


def _errors(of: Any, views: Any, activations: Any, batch: Any) -> Any:
    """δ at every layer's output, from the top down."""
    error = 2 * (activations[-1].reshape(len(batch.targets), -1) - batch.targets)
    error = error.reshape(activations[-1].shape)
    skipped: dict[int, Any] = {}
    for k in reversed(range(len(of.layers))):
        yield k, error
        vjp = partial(of.layers[k].backward, views[k], activations[k], activations[k + 1])
        error = of.backward(k, error, skipped, vjp)
