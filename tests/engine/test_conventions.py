"""Statements of docs/explanation/conventions.md that no other test proves."""

from math import cos, exp, log, pi
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import save_file

from batchgrad import contract
from batchgrad_engine.checkpoints.checkpoints import read
from batchgrad_engine.training import schedules
from batchgrad_engine.training.optimizers import clipped
from batchgrad_workers.nn.activations import softplus
from batchgrad_workers.nn.losses import LOSSES
from tests.engine.attempts import attempt, evaluations, rows
from tests.engine.small_job import spec
from tests.workers.splits import drawn

LINEAR = {"model": {"layers": [{"kind": "linear", "out_features": 3}]}}


def validation_figures(dataset: Path, directory: Path, **changes: Any) -> tuple[float, float]:
    """Loss and accuracy of the parameters that a fifth of all examples is evaluated with."""
    job = spec(**LINEAR, epochs=1, validation_fraction=0.2, standardize=False, **changes)
    attempt(job, dataset, directory)
    [found] = evaluations(attempt(job, dataset, directory.with_name("again")))
    assert found.validation_loss is not None
    assert found.validation_accuracy is not None
    return found.validation_loss, found.validation_accuracy


@pytest.mark.parametrize("class_weights", [None, {0: 5.0, 2: 0.25}])
def test_validation_loss_is_weighted_twice_and_accuracy_never(
    dataset: Path, tmp_path: Path, class_weights: dict[int, float] | None
) -> None:
    loss, accuracy = validation_figures(dataset, tmp_path / "job", class_weights=class_weights)
    held_out = drawn(101, 0.2).validation
    inputs, targets = (np.load(dataset / f"{name}.npy")[held_out] for name in ("inputs", "targets"))
    weights = np.load(dataset / "weights.npy")[held_out]
    weights = weights * [(class_weights or {}).get(int(target), 1.0) for target in targets]
    trained = read(max((tmp_path / "job").glob("step-*"))).parameters
    logits = inputs.astype(np.float64) @ trained["0.weight"].T + trained["0.bias"]
    losses = [log(sum(map(exp, row))) - row[y] for row, y in zip(logits, targets, strict=True)]
    assert loss == pytest.approx(np.dot(weights, losses) / weights.sum(), rel=1e-5)
    assert accuracy == np.mean(logits.argmax(1) == targets)


def theta(directory: Path) -> npt.NDArray[np.float64]:
    """The parameters of the newest checkpoint as one vector."""
    parameters = read(max(directory.glob("step-*"))).parameters
    return np.concatenate([array.ravel() for array in parameters.values()]).astype(np.float64)


def test_several_labels_are_right_together() -> None:
    right = LOSSES["sigmoid_cross_entropy"].correct
    assert right is not None
    targets = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    outputs = np.array([[0.1, -0.1], [0.1, 0.1], [0.0, 0.0]])
    assert right(outputs, targets).tolist() == [True, False, True]


def test_a_fraction_is_rounded_down() -> None:
    for examples, fraction, held_out in [(9, 0.1, 0), (10, 0.1, 1), (19, 0.1, 1), (100, 0.29, 29)]:
        assert len(drawn(examples, fraction).validation) == held_out


def test_rates_of_the_first_step_and_the_last() -> None:
    schedule = contract.Cosine(kind="cosine", warmup_steps=5, final_fraction=0.1)
    rule = contract.Sgd(kind="sgd", learning_rate=2.0, schedule=schedule)
    rates = [schedules.learning_rate(rule, step, 36) for step in range(36)]
    assert rates[:6] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0, 2.0])
    above = (1 + cos(pi * 30 / 31)) / 2
    assert rates[-1] == pytest.approx(2.0 * (0.1 + 0.9 * above))
    assert rates[-1] / 2.0 == pytest.approx(0.1 + 0.9 * 0.0026, abs=5e-5)


def test_clipping_gives_the_limit_itself() -> None:
    gradient = np.array([3.0, 4.0])
    assert np.linalg.norm(clipped(gradient, 1e-3)) == pytest.approx(1e-3, rel=1e-12)
    assert clipped(gradient, 5.0) is gradient


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_a_minibatch_without_weight_skips_the_optimizer(
    dataset: Path, tmp_path: Path, kind: str
) -> None:
    """One example is dropped, beside whose weight the rest of its minibatch weighs nothing."""
    inputs, weights = np.load(dataset / "inputs.npy").astype(np.float64), np.ones(101)
    inputs[70], weights[70] = 1e60, 1e300
    np.save(dataset / "inputs.npy", inputs)
    np.save(dataset / "weights.npy", weights)
    rule = {"kind": kind, "learning_rate": 0.1, "weight_decay": 0.1}
    rule |= {"momentum": 0.9} if kind == "sgd" else {}
    common = LINEAR | {"validation_fraction": 0.0, "standardize": False, "nonfinite": "drop"}
    job = spec(**common, optimizer=rule, epochs=1, batch_size=10)
    [skipped] = [r.step for r in rows(attempt(job, dataset, tmp_path / "job")) if r.loss is None]
    states = []
    for steps in (skipped - 1, skipped):
        short = spec(**common, optimizer=rule, batch_size=10, epochs=None, steps=steps)
        attempt(short, dataset, tmp_path / str(steps))
        states.append(read(max((tmp_path / str(steps)).glob("step-*"))))
    before, after = states
    assert before.parameters_digest == after.parameters_digest
    for name, array in before.optimizer.items():
        np.testing.assert_array_equal(array, after.optimizer[name])


def test_a_padding_row_stays_0_or_shrinks_by_weight_decay(dataset: Path, tmp_path: Path) -> None:
    """From 0 it stays so; from 1 it goes to (1 - rate · decay) a step."""
    np.save(dataset / "inputs.npy", np.random.default_rng(0).integers(0, 5, (101, 4)))
    embedding = {"kind": "embedding", "num_embeddings": 5, "embedding_dim": 2, "padding_idx": 0}
    layers = [embedding, {"kind": "flatten"}, {"kind": "linear", "out_features": 3}]
    rule = {"kind": "sgd", "learning_rate": 0.5, "weight_decay": 0.1}
    job = spec(model={"layers": layers}, standardize=False, optimizer=rule, epochs=1)
    attempt(job, dataset, tmp_path / "job")
    trained = read(max((tmp_path / "job").glob("step-*")))
    assert trained.parameters["0.weight"][0].tolist() == [0, 0]
    given = {name: np.ones_like(value) for name, value in trained.parameters.items()}
    save_file(given, tmp_path / "ones.safetensors")
    attempt(job, dataset, tmp_path / "more", initial_parameters=tmp_path / "ones.safetensors")
    more = read(max((tmp_path / "more").glob("step-*"))).parameters["0.weight"][0]
    np.testing.assert_allclose(more, (1 - 0.5 * 0.1) ** trained.step, rtol=1e-6)


def test_the_shorter_last_minibatch_makes_a_step_as_long_as_any(
    dataset: Path, tmp_path: Path
) -> None:
    """91 examples in minibatches of 20: the last has 11. SGD moves by rate · ‖G‖."""
    rule = {"kind": "sgd", "learning_rate": 0.1}
    for steps in (4, 5):
        job = spec(**LINEAR, epochs=None, steps=steps, optimizer=rule, keep="last")
        found = rows(attempt(job, dataset, tmp_path / str(steps)))
    before, after = (theta(tmp_path / steps) for steps in ("4", "5"))
    assert found[-1].learning_rate == 0.1
    moved = np.linalg.norm(after - before)
    assert moved == pytest.approx(0.1 * found[-1].gradient_norm, rel=1e-4)


def test_softplus_has_no_threshold() -> None:
    a = np.array([19.0, 20.0, 25.0])
    found = softplus().forward(a)
    np.testing.assert_allclose(found, np.log1p(np.exp(-a)) + a, rtol=1e-15)
    assert 2.0e-9 < found[1] - 20 < 2.1e-9
