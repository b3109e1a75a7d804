"""A spec that is probably wrong gets a warning with figures and a remedy; a right one does not."""

from math import e
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchgrad_service.problems import InvalidError
from batchgrad_service.validation.warnings import samples
from tests.service.planned import linear, planned

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
YES = np.arange(40) % 2
THREE = np.arange(40) % 3
TEN = np.arange(40) % 10
AT_POSITIONS = np.eye(7)[RNG.integers(0, 7, (40, 5))].reshape(40, 35)
SOFTMAX, LOGISTIC, SQUARED = "softmax_cross_entropy", "sigmoid_cross_entropy", "squared_error"
CONV = {"kind": "conv2d", "out_channels": 4, "kernel_size": 3}
IMAGES = {"layers": [CONV, "flatten", linear(2)], "loss": SOFTMAX}
DEAD = {"kind": "leaky_relu", "negative_slope": 0}
EMBEDDING = {"kind": "embedding", "num_embeddings": 256, "embedding_dim": 2}
POOLED = [CONV | {"out_channels": 2}, {"kind": "avg_pool2d", "kernel_size": 6}]
PIXELS = RNG.integers(0, 256, (40, 64)).astype(np.uint8)
TABLE = X * (1, 1, 1e-3)
TWO = {"layers": [linear(2)], "loss": SOFTMAX}


def job(loss: str, *layers: Any, **more: Any) -> dict[str, Any]:
    return {"loss": loss, "layers": list(layers), **more}


def warnings_of(directory: Path, inputs: Any, targets: Any, spec: dict[str, Any]) -> list[str]:
    return planned(directory, inputs, targets, **spec).warnings


@pytest.mark.parametrize(
    ("inputs", "targets", "spec", "parts"),
    [
        # outputs and classes
        (X, np.arange(40) % 4, job(SOFTMAX, linear(128)), ["128 outputs", "4 classes", "4 to 127"]),
        (X, THREE, job(SOFTMAX, linear(4)), ["output 3 has no example", "out_features: 3"]),
        (
            X,
            YES * 0,
            job(SOFTMAX, linear(1)),
            ["softmax of one output is always 1", "All examples have"],
        ),
        (RNG.normal(size=(40, 5, 6)), THREE, job(SOFTMAX, linear(7)), ["5 · 7 = 35", "(n, 35)"]),
        (
            RNG.normal(size=(40, 1, 6, 6)),
            YES,
            job(SOFTMAX, CONV),
            ["4 · 4 · 4 = 64", "out_features: 2"],
        ),
        # logits
        (X, YES, job(LOGISTIC, linear(1), "sigmoid"), ["below 50.0% or above 73.1%", "yes for ev"]),
        (X, YES, job(LOGISTIC, linear(1), "relu"), ["below 50.0%.", "yes for every example"]),
        (X, YES, job(LOGISTIC, linear(1), "tanh", "identity"), ["below 26.9% or above 73.1%"]),
        (X, YES, job(LOGISTIC, linear(1), "gelu"), ["below 45.8%"]),
        (X, YES, job(LOGISTIC, linear(1), {"kind": "elu", "alpha": 1e308}), ["below 0.0%"]),
        (X, TEN, job(SOFTMAX, linear(10), "sigmoid"), [f"above {e / (e + 9):.1%}", "below 1.461"]),
        (X, TEN, job(SOFTMAX, linear(10), "tanh", "flatten"), ["from -1 to 1", "above 45.1%"]),
        (X, YES, job(SOFTMAX, linear(2), "relu"), ["has no gradient", "Remove the relu"]),
        (X, YES, job(SOFTMAX, linear(2), DEAD), ["leaky_relu sets to 0 has no gradient"]),
        (X, YES, job(SOFTMAX, linear(2), "softplus"), ["no output can be below 0"]),
        (
            X,
            YES,
            job(SOFTMAX, linear(2), {"kind": "elu", "alpha": 0.5}),
            ["no output can be below -0.5"],
        ),
        # ranges
        (X, 25.0 + YES, job(SQUARED, linear(1), "sigmoid"), ["between 0 and 1", "from 25 to 26"]),
        (X, YES - 0.5, job(SQUARED, linear(1), "relu"), ["above 0", "from -0.5 to 0.5"]),
        # labels
        (X, YES + 1, job(SOFTMAX, linear(3)), ["classes 1 to 2", "targets - 1"]),
        (X, 10 * THREE, job(SOFTMAX, linear(21)), ["only 3 have examples", "return_inverse"]),
        (X, YES + 7, job(SOFTMAX, linear(9)), ["the first is 7"]),
        # images
        (np.zeros((40, 32, 32, 3)), YES, IMAGES, ["32 channels of 32 x 3", "(0, 3, 1, 2)"]),
        (np.zeros((40, 28, 20, 4)), YES, IMAGES, ["28 channels of 20 x 4"]),
        # scales
        (PIXELS, YES, TWO, ["from 0 to 255", "inputs / 255"]),
        (PIXELS.astype(np.float32) * 257, YES, TWO, ["from 0 to 65535"]),
        (PIXELS.reshape(40, 1, 8, 8), YES, IMAGES, ["raw pixels"]),
        (TABLE, YES, TWO, ["column 2 from", "times smaller", "standardize: true"]),
        (
            RNG.normal(size=(40, 5, 2)) * (1, 5e3),
            YES,
            job(SOFTMAX, linear(4), "flatten", linear(2)),
            ["feature 1 ranges", "feature 0 from"],
        ),
        (
            RNG.normal(size=(40, 2, 8, 8)) * np.array([1, 1e4]).reshape(2, 1, 1),
            YES,
            IMAGES,
            ["channel 1 ranges", "channel 0 from"],
        ),
        (np.full((40, 3), 1e60), YES, TWO, ["reach 1e+60", "at most 3.4e+38"]),
        # validation
        (X, YES, TWO | {"validation_fraction": 0.02}, ["0.02 of 40", "to 0.025 or more"]),
    ],
)
def test_warns(
    tmp_path: Path, inputs: Any, targets: Any, spec: dict[str, Any], parts: list[str]
) -> None:
    text = " ".join(warnings_of(tmp_path, inputs, targets, spec))
    for part in parts:
        assert part in text


@pytest.mark.parametrize(
    ("inputs", "targets", "spec"),
    [
        (X, THREE, job(SOFTMAX, linear(3))),
        (X, THREE, job(SOFTMAX, linear(3), {"kind": "leaky_relu"})),
        (X, YES, job(LOGISTIC, linear(1))),
        (X, YES, job(LOGISTIC, linear(4), "relu", linear(1))),
        (RNG.normal(size=(40, 5, 6)), THREE, job(SOFTMAX, linear(7), "flatten", linear(3))),
        (RNG.normal(size=(40, 3, 6)), THREE, job(SOFTMAX, linear(1))),  # a choice of alternatives
        (RNG.normal(size=(40, 5, 6)), AT_POSITIONS, job(LOGISTIC, linear(7))),  # as is offered
        (RNG.normal(size=(40, 1, 8, 8)), YES, job(SOFTMAX, *POOLED)),
        (RNG.normal(size=(40, 1, 8, 8)), YES, job(SOFTMAX, POOLED[0], "relu", POOLED[1])),
        (X[:, None] * (1, 500, 1), YES, job(SOFTMAX, linear(2), "flatten", linear(2))),
        (RNG.normal(size=(40, 5, 2)), np.arange(40) % 10, job(SOFTMAX, linear(2))),
        (X, YES * 1.0, job(SQUARED, linear(1), "sigmoid")),
        (X, YES + 25.0, job(SQUARED, linear(1), "relu")),
        (X, -1.0 - YES, job(SQUARED, linear(1))),
        (X, YES * 7 - YES * 2, job(SQUARED, linear(1))),
        (X, np.array([0, 1, 3, 4, 5] * 8), job(SOFTMAX, linear(6))),  # one class is missing
        (RNG.normal(size=(40, 3, 32, 32)), YES, IMAGES),
        (RNG.normal(size=(40, 8, 100, 3)), YES, IMAGES),
        (RNG.normal(size=(40, 4, 4, 3)), YES, job(SOFTMAX, linear(6), "flatten", linear(2))),
        (PIXELS, YES, TWO | {"standardize": True}),
        (PIXELS / 255, YES, TWO),
        (PIXELS[:, :3], YES, TWO),
        (PIXELS, YES, job(SOFTMAX, "layer_norm", linear(2))),
        (PIXELS, YES, job(SOFTMAX, EMBEDDING, "flatten", linear(2))),
        (TABLE, YES, TWO | {"standardize": True}),
        (X * (1, 0, 900), YES, TWO),
        (np.full((40, 3), 1e60), YES, TWO | {"precision": "float64"}),
        (X, YES, TWO | {"validation_fraction": 0.025}),
    ],
)  # fmt: skip
def test_a_right_spec_gets_no_warning(
    tmp_path: Path, inputs: Any, targets: Any, spec: dict[str, Any]
) -> None:
    assert warnings_of(tmp_path, inputs, targets, spec) == []


@pytest.mark.parametrize("changes", [{"early_stopping": {}}, {"keep": "best"}])
def test_validation_figures_need_validation_examples(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    """Rows of weight 0 are not counted: 10 of 40 rows count, and 0.075 of 10 rounds to none."""
    weights = (np.arange(40) % 4 == 0) * 1.0
    spec = TWO | changes | {"validation_fraction": 0.075}
    with pytest.raises(InvalidError, match=r"0\.075 of 10 examples, rounded down, is 0") as refused:
        planned(tmp_path, X, THREE % 2, weights, **spec)
    [error] = refused.value.errors
    assert error.pointer == "/validation_fraction"
    assert "validation_fraction to 0.1 or more" in error.detail
    assert planned(tmp_path, X, THREE % 2, **spec).validation_examples == 3
    assert planned(tmp_path, X, THREE % 2, weights, **spec | {"validation_fraction": 0.1})


def test_inputs_without_weight_do_not_count(tmp_path: Path) -> None:
    inputs, weights = X.copy(), np.ones(40)
    inputs[3], weights[3] = 1e6, 0
    inputs[:, 0] *= 100
    assert planned(tmp_path, inputs, YES, weights, **TWO).warnings == []
    weights[3] = 1
    assert planned(tmp_path, inputs * (1, 1, 1e-3), YES, weights, **TWO).warnings != []


def test_labels_without_weight_do_not_count(tmp_path: Path) -> None:
    targets, weights = YES + 1, np.ones(40)
    targets[3], weights[3] = 0, 0
    [warning] = planned(tmp_path, X, targets, weights, **job(SOFTMAX, linear(3))).warnings
    assert "no example has class 0" in warning
    weights[3] = 1
    assert planned(tmp_path, X, targets, weights, **job(SOFTMAX, linear(3))).warnings == []


@pytest.mark.parametrize("rows", [10, 4095, 4096, 4097, 30_000])
def test_a_sample_is_limited_and_has_both_ends(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(samples, "MAX_NUMBERS", 8192)
    array = np.ones((rows, 2), np.float32)
    array[0, 0], array[-1, 1] = -7, 9
    seen = samples.take_sample(array)
    assert (seen.lowest.tolist(), seen.highest.tolist(), seen.integers) == ([-7, 1], [1, 9], True)
    assert seen.rows == min(rows, 4096)
    assert samples.take_sample(array, np.array([1, 5])).highest.tolist() == [1, 1]
    array[0, 0] = -6.5
    assert not samples.take_sample(array).integers


@pytest.mark.parametrize("weights", [np.where(YES, 0.0, 1e-300), np.where(YES, 0, 7)])
def test_weights_and_class_weights_that_leave_no_example_are_refused(
    tmp_path: Path, weights: Any
) -> None:
    for given in ({0: 0.0}, {0: 0.0, 1: 5.0}):
        with pytest.raises(
            InvalidError, match="No example has a weight above 0, among 40"
        ) as refused:
            planned(tmp_path, X, YES, weights, **TWO, class_weights=given)
        assert refused.value.errors[0].pointer == "/class_weights"
    assert planned(tmp_path, X, YES, weights, **TWO, class_weights={1: 0.0}).training_examples == 20


def test_a_parameter_group_without_parameters_is_refused_with_their_names(tmp_path: Path) -> None:
    groups = [{"match": "*.bias", "weight_decay": 0}, {"match": "encoder.*", "weight_decay": 0}]
    optimizer = {"kind": "sgd", "learning_rate": 0.1, "groups": groups}
    with pytest.raises(InvalidError) as refused:
        planned(tmp_path, X, YES, **TWO, optimizer=optimizer)
    [error] = refused.value.errors
    assert error.pointer == "/optimizer/groups/1/match"
    assert "'encoder.*' matches none of the parameters, which are 0.weight, 0.bias." in error.detail
    optimizer["groups"] = groups[:1]
    assert planned(tmp_path, X, YES, **TWO, optimizer=optimizer).parameters == 8
