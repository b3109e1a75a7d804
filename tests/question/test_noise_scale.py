"""The noise scale against its definition, with every per-example gradient in hand."""

from typing import Any

import numpy as np
import pytest

from tests.question.comparison import flat
from tests.question.sample_requests import ask, digits


def test_the_noise_scale_by_its_definition() -> None:
    response = ask(**digits(per_example=True))
    gradients = np.stack([flat(each) for each in response.per_example or []])

    # Two ways: the unbiased covariance's trace, and every pair of different examples' product.
    trace = np.trace(np.atleast_2d(np.cov(gradients, rowvar=False)))
    products = gradients @ gradients.T
    signal = (products.sum() - np.trace(products)) / (8 * 7)

    assert response.noise_scale.trace == pytest.approx(trace, rel=1e-12)
    assert response.noise_scale.signal == pytest.approx(signal, rel=1e-10)
    assert response.noise_scale.simple == (
        pytest.approx(trace / signal, rel=1e-10) if signal > 0 else None
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"weights": [1, 1, 1, 1, 1, 1, 1, 2]},
        {"inputs": [[0.0] * 5], "targets": [1]},
    ],
)
def test_the_noise_scale_is_undetermined(fields: dict[str, Any]) -> None:
    noise = ask(**digits(**fields)).noise_scale

    assert (noise.trace, noise.signal, noise.simple) == (None, None, None)


def test_equal_weights_of_any_size_give_the_same_noise_scale() -> None:
    heavy = ask(**digits(weights=[4.0] * 8)).noise_scale

    assert heavy.trace == pytest.approx(ask(**digits()).noise_scale.trace, rel=1e-12)


def test_an_example_of_weight_0_is_none_of_the_noise_scale_s() -> None:
    fields = digits()
    without = {row: fields[row][1:] for row in ("inputs", "targets")}
    present = ask(**digits(weights=[0, 3, 3, 3, 3, 3, 3, 3])).noise_scale

    assert present.trace == pytest.approx(ask(**{**fields, **without}).noise_scale.trace, rel=1e-12)


def test_a_signal_that_is_not_positive_leaves_the_simple_scale_open() -> None:
    noise = ask(
        model={"layers": [{"kind": "linear", "out_features": 1, "bias": False}]},
        loss="squared_error",
        inputs=[[1.0], [1.0]],
        targets=[1.0, -1.0],
        parameters={"0.weight": [[0.0]]},
    ).noise_scale

    assert (noise.trace, noise.signal, noise.simple) == (8.0, -4.0, None)
