"""The expression in an error message converts the data to what the job needs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchgrad_service.problems import InvalidError
from tests.service.planned import linear, planned

X = np.random.default_rng(0).normal(size=(12, 3))
SOFTMAX, LOGISTIC, SQUARED = "softmax_cross_entropy", "sigmoid_cross_entropy", "squared_error"
CONV = {"kind": "conv2d", "out_channels": 4, "kernel_size": 3}
NETS: dict[str, list[Any]] = {
    SOFTMAX: [linear(3)],
    LOGISTIC: [linear(1)],
    SQUARED: [linear(1)],
}
IMAGES = [CONV, "flatten", linear(2)]
SIGNS = np.array([-1, 1] * 6)


@pytest.mark.parametrize(
    ("loss", "targets", "remedy", "becomes"),
    [
        (SOFTMAX, np.array([1, 2, 3] * 4), "targets - 1", [0, 1, 2]),
        (
            SOFTMAX,
            np.array([10, 20, 30] * 4),
            "numpy.unique(targets, return_inverse=True)[1]",
            [0, 1, 2],
        ),
        (SOFTMAX, SIGNS, "(targets > 0).astype('int64')", [0, 1]),
        (SQUARED, SIGNS, "targets.astype('float32')", [-1, 1]),
        (SQUARED, np.array([-5, 3] * 6), "targets.astype('float32')", [-5, 3]),
        (
            SOFTMAX,
            np.array([-5, 3] * 6),
            "numpy.unique(targets, return_inverse=True)[1]",
            [0, 1],
        ),
        (LOGISTIC, SIGNS * 1.0, "(targets + 1) / 2", [0, 1]),
        (LOGISTIC, np.array([1, 2] * 6), "targets - 1.0", [0, 1]),
        (LOGISTIC, np.array([[0], [50], [100]] * 4) * 1.0, "targets / 100", [0, 0.5, 1]),
        (LOGISTIC, np.array([0, 255] * 6), "targets / 255", [0, 1]),
    ],
)
def test_targets(
    tmp_path: Path, loss: str, targets: Any, remedy: str, becomes: list[float]
) -> None:
    with pytest.raises(InvalidError) as refused:
        planned(tmp_path, X, targets, loss=loss, layers=NETS[loss])
    assert remedy in refused.value.errors[0].detail
    mended = eval(remedy, {"numpy": np, "targets": targets})  # noqa: S307 - as one would type it
    assert mended[: len(becomes)].ravel().tolist() == becomes
    planned(tmp_path, X, mended, loss=loss, layers=NETS[loss])


@pytest.mark.parametrize(
    ("inputs", "remedy"),
    [
        (np.zeros((12, 8, 8, 1), "u1"), "inputs.transpose(0, 3, 1, 2)"),
        (np.zeros((12, 8, 8)), "inputs[:, None]"),
    ],
)
def test_images(tmp_path: Path, inputs: Any, remedy: str) -> None:
    targets = np.arange(12) % 2
    with pytest.raises(InvalidError) as refused:
        planned(tmp_path, inputs, targets, loss=SOFTMAX, layers=IMAGES)
    [error] = refused.value.errors
    assert error.pointer == "/model/layers/0"
    assert remedy in error.detail
    mended = eval(remedy, {"inputs": inputs})  # noqa: S307 - as one would type it
    assert mended.shape == (12, 1, 8, 8)
    assert planned(tmp_path, mended, targets, loss=SOFTMAX, layers=IMAGES).warnings == []


def test_an_image_that_is_too_small_gets_no_hint_to_transpose(tmp_path: Path) -> None:
    with pytest.raises(InvalidError) as refused:
        planned(tmp_path, np.zeros((12, 3, 2, 2)), np.arange(12) % 2, loss=SOFTMAX, layers=IMAGES)
    assert "does not fit into images" in refused.value.errors[0].detail
    assert "transpose" not in refused.value.errors[0].detail
