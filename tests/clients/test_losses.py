"""The description of a loss's targets."""

from math import inf
from typing import Any

import pytest

from batchgrad.contract import LossKind


@pytest.mark.parametrize(
    ("kind", "low", "high", "words"),
    [
        ("value", -inf, inf, "numbers"),
        ("value", 0, inf, "numbers, at least 0"),
        ("value", -inf, 2.5, "numbers, at most 2.5"),
        ("probability", 0, 1, "probabilities, 0 to 1"),
        ("class", 0, inf, "classes, at least 0"),
    ],
)
def test_targets_in_words(kind: Any, low: float, high: float, words: str) -> None:
    loss = LossKind("Σ f", kind, (low, high))
    assert loss.targets == words
    assert loss.is_bounded == ("," in words)
    assert loss.target_shape == ("(n,)" if kind == "class" else "(n, outputs)")
