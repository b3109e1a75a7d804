"""The sums of an evaluation over batches give scikit-learn's figures over all examples."""

import numpy as np
import pytest
from sklearn import metrics

from batchgrad_service.predicting import sums
from batchgrad_service.predicting.sums import ClassSums, Losses, NumberSums

BATCHES = (slice(0, 1), slice(1, 40), slice(40, 43), slice(43, 100))


def test_figures_of_numbers_do_not_depend_on_batches_or_a_far_mean() -> None:
    random = np.random.default_rng(0)
    targets = 1e6 + random.normal(size=(100, 2)) * [1, 50]
    predicted = targets + random.normal(size=(100, 2))
    weights = random.uniform(0.1, 3, 100)
    of = NumberSums()
    for batch in BATCHES:
        of.add(targets[batch], predicted[batch], weights[batch])
    assert of.figures == {
        "r2": pytest.approx(metrics.r2_score(targets, predicted, sample_weight=weights), rel=1e-9),
        "rmse": pytest.approx(
            metrics.root_mean_squared_error(targets, predicted, sample_weight=weights), rel=1e-9
        ),
        "mae": pytest.approx(
            metrics.mean_absolute_error(targets, predicted, sample_weight=weights), rel=1e-9
        ),
    }


def test_one_number_explains_no_variance() -> None:
    of = NumberSums()
    of.add(np.array([[2.0]]), np.array([[3.0]]), np.ones(1))
    assert of.figures == {"r2": None, "rmse": 1.0, "mae": 1.0}


def drawn(classes: int) -> tuple[ClassSums, np.ndarray, np.ndarray, np.ndarray]:
    """Sums of 100 examples in batches; their classes, predictions and probabilities."""
    random = np.random.default_rng(1)
    probabilities = random.dirichlet(np.ones(classes), 100)
    targets, predicted = random.integers(0, classes, 100), probabilities.argmax(1)
    of = ClassSums([str(number) for number in range(classes)])
    for batch in BATCHES:
        of.add(targets[batch], predicted[batch], probabilities[batch])
    return of, targets, predicted, probabilities


@pytest.mark.parametrize("classes", [2, 4])
def test_figures_of_classes_do_not_depend_on_batches(classes: int) -> None:
    of, targets, predicted, probabilities = drawn(classes)
    scores = probabilities[:, 1] if classes == 2 else probabilities
    auc = metrics.roc_auc_score(targets, scores, multi_class="ovr")
    assert of.figures == {
        "balanced_accuracy": pytest.approx(metrics.balanced_accuracy_score(targets, predicted)),
        "confusion": metrics.confusion_matrix(targets, predicted).tolist(),
        "classes": of.names,
        "auc": pytest.approx(auc),
    }
    assert of.warnings == []


def test_a_class_without_examples_has_no_recall_and_leaves_no_auc() -> None:
    of = ClassSums(["a", "b", "c"])
    of.add(np.array([0, 0, 1]), np.array([0, 2, 1]), np.full((3, 3), 1 / 3))
    assert of.figures["balanced_accuracy"] == 0.75
    assert of.figures["confusion"] == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert "auc" not in of.figures


def test_many_probabilities_leave_out_the_auc_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "MOST_NUMBERS", 4 * 43)
    of, *_ = drawn(4)
    assert of.kept == []
    assert of.figures.keys() == {"balanced_accuracy", "confusion", "classes"}
    assert of.warnings == ["AUC was left out: 400 probabilities are too many."]


def test_many_classes_leave_out_the_confusion_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "MOST_CLASSES", 3)
    of, targets, predicted, _ = drawn(4)
    assert "confusion" not in of.figures
    assert of.warnings == ["The confusion matrix was left out: 4 classes are too many."]
    expected = metrics.balanced_accuracy_score(targets, predicted)
    assert of.figures["balanced_accuracy"] == pytest.approx(expected)


def test_a_mean_loss_is_weighted_and_undefined_if_it_overflows() -> None:
    of = Losses()
    of.add(np.array([1.0, 4.0]), np.array([1.0, 2.0]), right=1)
    of.add(np.array([2.0]), np.array([1.0]), right=1)
    assert (of.mean, of.right, of.rows) == (2.75, 2, 3)
    of.add(np.array([np.inf]), np.ones(1), right=0)
    assert of.mean is None
