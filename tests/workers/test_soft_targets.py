"""Probabilities as targets, and smoothed labels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchgrad_workers.nn.losses import LOSSES, target_rows
from tests.workers.jobs import EXAMPLES, bits, store, whole, worker_config

SOFTMAX = LOSSES["softmax_cross_entropy"]


def test_smoothed_labels_share_epsilon_among_all_classes() -> None:
    rows = target_rows(SOFTMAX, np.array([1, 0]), 4, np.float64, 0.2)
    assert rows == pytest.approx(np.array([[0.05, 0.85, 0.05, 0.05], [0.85, 0.05, 0.05, 0.05]]))


def test_probabilities_are_scaled_to_sum_to_1() -> None:
    rows = target_rows(SOFTMAX, np.array([[0.2, 0.8004]], np.float32), 2, np.float64)
    assert rows.sum() == pytest.approx(1, abs=1e-15)
    assert rows[0, 1] / rows[0, 0] == pytest.approx(4.002)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_one_hot_probabilities_have_the_bits_of_classes(tmp_path: Path, smoothing: float) -> None:
    changes: dict[str, Any] = {"label_smoothing": smoothing}
    classes = np.random.default_rng(1).integers(0, 3, EXAMPLES)
    found = []
    for name, targets in (("classes", classes), ("rows", np.eye(3)[classes])):
        (folder := tmp_path / name).mkdir()
        found.append(bits(whole(worker_config(store(folder, targets=targets), **changes))[0]))
    assert found[0] == found[1]


def test_smoothing_reaches_the_losses_of_a_job(tmp_path: Path) -> None:
    store(tmp_path)
    plain, smoothed = (
        whole(worker_config(tmp_path, label_smoothing=each))[0].totals[0] for each in (0.0, 0.3)
    )
    assert plain != smoothed
