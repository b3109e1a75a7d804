"""What holds of the mean gradient and its shortcuts, and what can't change it."""

from typing import Any

import numpy as np
import pytest

from batchgrad.contract import GradientsResponse
from batchgrad.user_machine import demo
from tests.question.comparison import flat
from tests.question.sample_requests import ask, digits

SHORTCUTS = ("averaged_error", "mean_example")


def line(loss: str, slope: float = 0.5) -> GradientsResponse:
    return ask(
        model={"layers": [{"kind": "linear", "out_features": 1}]},
        loss=loss,
        inputs=[[0.0], [1.0], [4.0]],
        targets=[1.0, 2.0, -1.0],
        parameters={"0.weight": [[slope]], "0.bias": [0.25]},
    )


def test_a_line_fit_is_wrong_in_the_slope_by_twice_the_covariance() -> None:
    x, y = np.array([0.0, 1.0, 4.0]), np.array([1.0, 2.0, -1.0])
    residual = y - (0.5 * x + 0.25)

    response = line("squared_error")
    shortcut = response.shortcuts["averaged_error"].gradient

    assert flat(response.mean_gradient) == pytest.approx(
        [-2 * np.mean(x * residual), -2 * np.mean(residual)], rel=1e-12
    )
    assert shortcut["0.bias"] == pytest.approx(response.mean_gradient["0.bias"], rel=1e-12)
    gap = shortcut["0.weight"][0][0] - response.mean_gradient["0.weight"][0][0]
    assert gap == pytest.approx(2 * np.cov(x, residual, ddof=0)[0, 1], rel=1e-12)


def test_with_linear_error_the_shortcut_is_exact_wherever_theta_is() -> None:
    first, second = line("linear_error", 0.5), line("linear_error", -7.0)

    assert flat(first.mean_gradient) == pytest.approx([-5 / 3, -1], rel=1e-12)
    assert first.mean_gradient == second.mean_gradient
    assert first.shortcuts["averaged_error"].relative_error == pytest.approx(0, abs=1e-12)


def test_a_sigmoid_of_two_inputs() -> None:
    response = ask(
        model={"layers": [{"kind": "linear", "out_features": 1}, {"kind": "sigmoid"}]},
        loss="linear_error",
        inputs=[[0.0], [1.0]],
        targets=[0.0, 0.0],
        parameters={"0.weight": [[1.0]], "0.bias": [0.0]},
    )

    assert round(response.mean_gradient["0.bias"][0], 4) == -0.2233
    for name in SHORTCUTS:
        assert round(response.shortcuts[name].gradient["0.bias"][0], 4) == -0.2350


def test_equal_average_losses_with_different_gradients() -> None:
    def at(target: float) -> GradientsResponse:
        return ask(
            model={"layers": [{"kind": "linear", "out_features": 1}]},
            loss="squared_error",
            inputs=[[1.0]],
            targets=[target],
            parameters={"0.weight": [[0.0]], "0.bias": [0.0]},
        )

    assert at(1.0).loss == at(-1.0).loss
    assert at(1.0).mean_gradient["0.bias"] == [-2.0]
    assert at(-1.0).mean_gradient["0.bias"] == [2.0]


def test_averaging_that_starts_lower_leaves_less_wrong_and_at_the_top_is_averaged_error() -> None:
    response = ask(**digits())

    layers = response.shortcuts["averaged_error"].layers
    assert layers is not None
    lowest, top = response.depths
    exact = np.linalg.norm(flat(response.mean_gradient))
    # Started at layer 0's output, layer 2 is exact and layer 0 is frozen: only its covariance.
    covariance = layers[0].covariance_norm
    assert covariance is not None
    assert lowest.relative_error == pytest.approx(covariance / exact, rel=1e-12)
    of_shortcut = response.shortcuts["averaged_error"].relative_error
    assert top.relative_error == pytest.approx(of_shortcut, rel=1e-12)
    assert top.relative_error != pytest.approx(lowest.relative_error, rel=0.01)
    assert layers[1].propagation_norm == 0


def test_covariance_and_propagation_make_up_the_gap() -> None:
    response = ask(**digits())
    gradient = response.mean_gradient

    for name in SHORTCUTS:
        shortcut = response.shortcuts[name]
        assert shortcut.layers is not None
        for layer in shortcut.layers:
            weight, bias = f"{layer.name}.weight", f"{layer.name}.bias"
            gap = np.linalg.norm(
                np.append(
                    np.subtract(gradient[weight], shortcut.gradient[weight]),
                    np.subtract(gradient[bias], shortcut.gradient[bias]),
                )
            )
            covariance, propagation = layer.covariance_norm or 0, layer.propagation_norm or 0
            assert gap <= covariance + propagation + 1e-12
            assert gap >= abs(covariance - propagation) - 1e-12
            assert gap == pytest.approx(
                (layer.relative_error or 0)
                * np.linalg.norm(np.append(gradient[weight], gradient[bias])),
                rel=1e-12,
            )


def test_mean_of_means_is_exact_only_when_microbatches_weigh_the_same() -> None:
    equal = ask(**digits(microbatch_size=2)).shortcuts["mean_of_means"]
    short = ask(**digits(microbatch_size=3)).shortcuts["mean_of_means"]
    weights = [1, 2, 0, 0, 3, 1, 1, 1]
    unequal = ask(**digits(microbatch_size=2, weights=weights)).shortcuts["mean_of_means"]

    assert equal.relative_error == pytest.approx(0, abs=1e-14)
    assert (short.relative_error or 0) > 0.01
    assert (unequal.relative_error or 0) > 0.01


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.0, 0.5, 3.0, 1.0, 1.0, 4.0]])
def test_doubling_or_permuting_the_minibatch_changes_no_mean(weights: list[float] | None) -> None:
    fields = digits() if weights is None else digits(weights=weights)
    whole = ask(**fields)
    order = np.random.default_rng(0).permutation(8)
    rows = ["inputs", "targets"] + (["weights"] if weights else [])
    doubled = ask(**{**fields, **{row: fields[row] * 2 for row in rows}})
    permuted = ask(**{**fields, **{row: [fields[row][k] for k in order] for row in rows}})

    assert permuted.norms == pytest.approx([whole.norms[k] for k in order], rel=1e-12)
    for other in (doubled, permuted):
        assert other.loss == pytest.approx(whole.loss, rel=1e-12)
        assert flat(other.mean_gradient) == pytest.approx(flat(whole.mean_gradient), abs=1e-14)
        for name in SHORTCUTS:
            got, want = other.shortcuts[name].gradient, whole.shortcuts[name].gradient
            assert flat(got) == pytest.approx(flat(want), abs=1e-14)


def test_an_example_without_weight_is_as_good_as_absent() -> None:
    fields = digits()
    without = {row: fields[row][:-1] for row in ("inputs", "targets")}
    present = ask(**fields, weights=[1.0] * 7 + [0.0], microbatch_size=8)
    absent = ask(**{**fields, **without})

    assert flat(present.mean_gradient) == pytest.approx(flat(absent.mean_gradient), abs=1e-15)
    assert present.norms[:-1] == pytest.approx(absent.norms, rel=1e-12)
    assert (present.norms[-1] or 0) > 0


def test_where_the_gradient_is_zero_no_ratio_is_made_up() -> None:
    response = ask(
        model={"layers": [{"kind": "linear", "out_features": 1}]},
        loss="squared_error",
        inputs=[[1.0], [2.0]],
        targets=[1.0, 2.0],
        parameters={"0.weight": [[1.0]], "0.bias": [0.0]},
    )

    for shortcut in response.shortcuts.values():
        assert shortcut.relative_error is None
        assert shortcut.cosine_similarity is None
        assert shortcut.norm_ratio is None
    assert [depth.relative_error for depth in response.depths] == [None]


@pytest.mark.parametrize(
    ("weights", "error"),
    [
        (np.ones(256), 0.0),
        ((np.arange(256) % 32 < np.repeat(np.arange(4, 33, 4), 32)).astype(float), 0.3155),
    ],
    ids=["equal", "masked"],
)
def test_eight_ranks_that_average_their_means(weights: Any, error: float) -> None:
    """Fact 6 on a digits MLP: exact for equal weights, a third off for masks of 4, 8, … 32."""
    inputs, targets = demo.digits()
    deviation = inputs.std(axis=0)
    inputs = (inputs - inputs.mean(axis=0)) / np.where(deviation == 0, 1, deviation)
    widths = (64, 64, 10)
    layers = [{"kind": "linear", "out_features": width} for width in widths]
    response = ask(
        model={"layers": [layers[0], {"kind": "relu"}, layers[1], {"kind": "relu"}, layers[2]]},
        loss="softmax_cross_entropy",
        inputs=inputs[:256].tolist(),
        targets=targets[:256].tolist(),
        weights=weights.tolist(),
        microbatch_size=32,
    )
    found = response.shortcuts["mean_of_means"].relative_error
    assert found == pytest.approx(error, abs=5e-4)
