"""Plans of jobs whose targets are probabilities of classes, or smoothed labels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from batchgrad_service.problems import InvalidError
from tests.service.planned import linear, planned

INPUTS = np.random.default_rng(0).normal(size=(20, 2))
SOFT = np.random.default_rng(1).dirichlet(np.ones(3), 20).astype(np.float32)


def plan(directory: Path, targets: Any, **changes: Any) -> Any:
    fields = {"loss": "softmax_cross_entropy", "layers": [linear(3)], **changes}
    return planned(directory, INPUTS, targets, **fields)


def test_probabilities_of_classes_are_targets(tmp_path: Path) -> None:
    assert plan(tmp_path, SOFT, label_smoothing=0.1).warnings == []


def test_activations_before_the_loss_are_warned_of_as_with_classes(tmp_path: Path) -> None:
    [warning] = plan(tmp_path, SOFT, layers=[linear(3), "tanh"]).warnings
    assert "The last layer is tanh" in warning


@pytest.mark.parametrize(
    ("row", "value"), [(7, [0.5, 0.6, 0.0]), (3, [1.5, -0.5, 0.0]), (4, [0.0, 0.0, 0.0])]
)
def test_rows_that_are_no_probabilities_are_named(tmp_path: Path, row: int, value: Any) -> None:
    targets = SOFT.copy()
    targets[row] = value
    with pytest.raises(InvalidError) as caught:
        plan(tmp_path, targets)
    [error] = caught.value.errors
    assert f"targets[{row}] is [" in error.detail
    assert "divide each row by its sum" in error.detail


def test_another_number_of_probabilities_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="needs integer classes"):
        plan(tmp_path, SOFT, layers=[linear(4)])


def test_smoothing_without_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="squared_error has no classes: remove it"):
        plan(tmp_path, SOFT, loss="squared_error", label_smoothing=0.1)
