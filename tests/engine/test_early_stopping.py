"""Early stopping, for made-up figures of each epoch."""

import json
from typing import Any

import pytest

from batchgrad import contract
from batchgrad_engine.training.early_stopping import EarlyStopping


def stopping(**spec: Any) -> EarlyStopping:
    return EarlyStopping(contract.EarlyStopping(**spec))


def evaluated(figure: float) -> contract.ValidationFigures:
    """An evaluation whose figures are all this one."""
    return contract.ValidationFigures(**dict.fromkeys(contract.VALIDATION_FIGURES, figure))


def stopped_after(watch: EarlyStopping, figures: list[float], first: int = 1) -> int | None:
    """The epoch after which training stops; each figure is used as loss and as accuracy."""
    for epoch, figure in enumerate(figures, start=first):
        watch.observe(epoch, evaluated(figure))
        if watch.reason:
            return epoch
    return None


@pytest.mark.parametrize(
    ("spec", "figures", "expected"),
    [
        ({"patience": 2}, [3.0, 2.0, 2.0, 2.5, 1.0], 4),
        ({"patience": 2}, [3.0, 2.0, 2.5, 1.9, 2.0, 1.8], None),
        ({"patience": 1}, [3.0, 3.0], 2),
        ({"patience": 1, "min_delta": 0.5}, [3.0, 2.4, 1.9], 3),
        ({"patience": 2, "metric": "validation_accuracy"}, [0.1, 0.5, 0.5, 0.4], 4),
        ({"patience": 2, "metric": "validation_accuracy"}, [0.1, 0.2, 0.3, 0.4], None),
    ],
)
def test_stops_when_nothing_was_better_for_so_long(
    spec: dict[str, Any], figures: list[float], expected: int | None
) -> None:
    assert stopped_after(stopping(**spec), figures) == expected


def test_small_gains_do_not_add_up_against_the_best() -> None:
    """Each figure is compared with the best that counted, as in Keras and PyTorch Lightning."""
    figures = [1.0, 0.95, 0.9, 0.85]
    assert stopped_after(stopping(patience=3, min_delta=0.2), figures) == 4
    assert stopped_after(stopping(patience=3, min_delta=0.12), figures) is None


def test_reason_names_the_figure_and_the_setting() -> None:
    watch = stopping(patience=2)
    stopped_after(watch, [0.75, 0.5, 0.6, 0.7])
    assert watch.reason is not None
    for part in ("after epoch 4", "validation_loss, 0.5", "after epoch 2", "patience = 2"):
        assert part in watch.reason


@pytest.mark.parametrize("cut", range(5))
def test_goes_on_with_the_same_decision(cut: int) -> None:
    figures = [0.3, 0.1 + 0.2, 0.29, 0.31, 0.3]
    first, second = stopping(patience=2), stopping(patience=2)
    assert stopped_after(first, figures[:cut]) is None
    second.restore(json.loads(json.dumps(first.state())))
    assert stopped_after(second, figures[cut:], cut + 1) == 5


def test_without_a_spec_it_never_stops() -> None:
    watch = EarlyStopping(None)
    assert stopped_after(watch, [1.0] * 50) is None
