"""Only ratios of weights matter: whole jobs and POST /v1/gradients at every scale of weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchgrad.contract import GradientsRequest, GradientsResponse
from batchgrad_service.questions.gradients import answer
from tests.engine.attempts import attempt, evaluations, finished, newest, rows
from tests.engine.small_job import spec
from tests.workers.splits import drawn

SCALES = [1e-44, 1e-45, 1e-50, 2.0**-1070, 1e307]
JOB: dict[str, Any] = {"update": "mean_of_means", "batch_size": 20}


def trained(dataset: Path, directory: Path, **changes: Any) -> dict[str, Any]:
    """The figures of a whole job."""
    messages = attempt(spec(**changes), dataset, directory)
    assert finished(messages).outcome == "succeeded", finished(messages).detail
    return {
        "digest": finished(messages).parameters_digest,
        "parameters": np.concatenate([a.ravel() for a in newest(directory).parameters.values()]),
        "losses": [row.loss for row in rows(messages)],
        "validation": [each.validation_loss for each in evaluations(messages)],
        "shortcuts": [row.shortcuts["mean_of_means"].relative_error for row in rows(messages)],
        "weights": [row.weight for row in rows(messages)],
    }


@pytest.mark.parametrize("power", [-1000, -140, 3, 1000])
def test_a_power_of_two_changes_no_bit(dataset: Path, tmp_path: Path, power: int) -> None:
    usual = trained(dataset, tmp_path / "usual", **JOB)
    np.save(dataset / "weights.npy", np.ldexp(np.load(dataset / "weights.npy"), power))
    scaled = trained(dataset, tmp_path / "scaled", **JOB)
    assert scaled.pop("weights") == np.ldexp(usual.pop("weights"), power).tolist()
    assert scaled.pop("parameters").tobytes() == usual.pop("parameters").tobytes()
    assert scaled == usual


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("by", ["weights", "class_weights", "both"])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_any_scale_is_the_same_job(
    dataset: Path, tmp_path: Path, scale: float, by: str, precision: str
) -> None:
    """1e-44 was 2.6% off, 1e-45 37%, 1e-50 no training at all."""
    changes: dict[str, Any] = {**JOB, "precision": precision, "epochs": 2}
    np.save(dataset / "weights.npy", 2.0 ** -(np.arange(101) % 3))
    usual = trained(dataset, tmp_path / "usual", **changes, class_weights={0: 4.0, 1: 2.0, 2: 1.0})
    if by != "class_weights":
        np.save(dataset / "weights.npy", scale * 2.0 ** -(np.arange(101) % 3))
    factor = 1.0 if by == "weights" else scale if by == "class_weights" else 1 / scale
    factor = min(factor, 1e306)
    of_classes = {0: factor * 4, 1: factor * 2, 2: factor}
    scaled = trained(dataset, tmp_path / "scaled", **changes, class_weights=of_classes)

    tolerance = 1e-12 if precision == "float64" else 1e-5
    for name in ("losses", "validation", "shortcuts", "parameters"):
        assert scaled[name] == pytest.approx(usual[name], rel=tolerance, abs=tolerance / 10), name


def test_every_minibatch_has_a_scale_of_its_own(dataset: Path, tmp_path: Path) -> None:
    """Weights of 1 and of 2^-700 in one dataset: one by one, each example is its own mean."""
    alone: dict[str, Any] = {"batch_size": 1, "epochs": 1, "update": "mean_of_means"}
    np.save(dataset / "weights.npy", np.ones(101))
    usual = trained(dataset, tmp_path / "usual", **alone)
    np.save(dataset / "weights.npy", np.where(np.arange(101) % 2, 1.0, 2.0**-700))
    spread = trained(dataset, tmp_path / "spread", **alone)
    assert spread["digest"] == usual["digest"]
    assert spread["losses"] == usual["losses"]


def test_microbatches_of_different_scales_have_the_means_of_the_minibatch(
    dataset: Path, tmp_path: Path
) -> None:
    """Light microbatches are summed at a scale of their own, which their means must follow."""
    np.save(dataset / "weights.npy", np.where(np.arange(101) % 2, 1.0, 2.0**-100))
    errors = []
    for size in (1, 20):
        job = spec(precision="float64", epochs=1, microbatch_size=size)
        steps = rows(attempt(job, dataset, tmp_path / str(size)))
        errors.append([step.shortcuts["averaged_error"].relative_error for step in steps])
    assert errors[0] == pytest.approx(errors[1], rel=1e-6)


def gradients_of(**changes: Any) -> GradientsResponse:
    fields: dict[str, Any] = {
        "model": {"layers": [{"kind": "linear", "out_features": 1}, {"kind": "tanh"}]},
        "loss": "squared_error",
        "inputs": [[0.5], [-1.0], [2.0], [0.1]],
        "targets": [1.0, 0.3, -2.0, 0.7],
        "weights": [1.0, 2.0, 0.5, 4.0],
        "microbatch_size": 2,
        **changes,
    }
    return answer(GradientsRequest.model_validate(fields))


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("scale", [2.0**-1060, 1e-300, 1e-50, 1e-45, 1e-44, 1e40, 1e300, 4e307])
def test_the_question_s_weights_have_any_scale(precision: str, scale: float) -> None:
    usual, scaled = (
        gradients_of(precision=precision, weights=[factor * w for w in (1.0, 2.0, 0.5, 4.0)])
        for factor in (1.0, scale)
    )
    tolerance = 1e-12 if precision == "float64" else 1e-5
    assert scaled.loss == pytest.approx(usual.loss, rel=tolerance)
    for name in ("averaged_error", "mean_example", "mean_of_means"):
        want, got = usual.shortcuts[name], scaled.shortcuts[name]
        assert got.relative_error == pytest.approx(want.relative_error, rel=10 * tolerance)
    for name, gradient in usual.mean_gradient.items():
        assert np.ravel(scaled.mean_gradient[name]) == pytest.approx(np.ravel(gradient), rel=1e-5)


def test_each_microbatch_of_the_question_has_its_own_mean() -> None:
    """The mean of means of weights 1, 1 and 1e-60, 2e-60, whatever float32 makes of 1e-60."""
    spread = gradients_of(precision="float32", weights=[1.0, 1.0, 1e-60, 2e-60])
    apart = gradients_of(precision="float32", weights=[0.5, 0.5, 1 / 3, 2 / 3])
    heavy = gradients_of(precision="float32", weights=[1.0, 1.0, 0.0, 0.0])
    for name, gradient in apart.shortcuts["mean_of_means"].gradient.items():
        other = spread.shortcuts["mean_of_means"].gradient[name]
        assert np.ravel(other) == pytest.approx(np.ravel(gradient), rel=1e-5)
    assert spread.mean_gradient == heavy.mean_gradient
    assert spread.loss == pytest.approx(heavy.loss, rel=1e-12)


def test_a_row_of_weight_0_may_hold_anything_in_the_question() -> None:
    with_it = gradients_of(
        precision="float32",
        inputs=[[0.5], [-1.0], [2.0], [0.1], [3e38]],
        targets=[1.0, 0.3, -2.0, 0.7, -3e38],
        weights=[1.0, 2.0, 0.5, 4.0, 0.0],
    )
    without = gradients_of(precision="float32")
    assert with_it.mean_gradient == without.mean_gradient
    assert with_it.shortcuts == without.shortcuts
    assert (with_it.loss, with_it.norms) == (without.loss, [*without.norms, None])


def test_few_heavy_examples_outweigh_all_others(dataset: Path, tmp_path: Path) -> None:
    """Losses by explicit sums, where most microbatches have none of the weights of 2^70."""
    weights = np.where(np.arange(101) % 9 == 0, 2.0**70, 1.0 + np.arange(101) / 101)
    np.save(dataset / "weights.npy", weights)
    still = {"optimizer": {"kind": "sgd", "learning_rate": 1e-30}, "batch_size": "full"}
    model = {"layers": [{"kind": "linear", "out_features": 3}]}
    job = spec(**still, model=model, precision="float64", standardize=False, epochs=1)
    messages = attempt(job, dataset, tmp_path / "job")

    parameters = newest(tmp_path / "job").parameters
    inputs, targets = (np.load(dataset / f"{name}.npy") for name in ("inputs", "targets"))
    outputs = inputs @ parameters["0.weight"].T + parameters["0.bias"]
    losses = np.log(np.exp(outputs).sum(axis=1)) - outputs[np.arange(101), targets]
    split = drawn(101, 0.1)
    for ids, reported in (
        (split.training, rows(messages)[0].loss),
        (split.validation, evaluations(messages)[0].validation_loss),
    ):
        assert reported == pytest.approx(losses[ids] @ weights[ids] / weights[ids].sum(), rel=1e-12)
    assert (weights[split.validation] > 2).any()
