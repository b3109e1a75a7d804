"""Answers to tiny and huge questions are those to the question in between, scaled."""

from typing import Any

import numpy as np
import pytest

from tests.question.comparison import flat
from tests.question.sample_requests import ask

LINE: dict[str, Any] = {"layers": [{"kind": "linear", "out_features": 3}, {"kind": "identity"}]}
SEQUENCE: dict[str, Any] = {
    "layers": [
        {"kind": "linear", "out_features": 4, "bias": False},
        {"kind": "relu"},
        {"kind": "flatten"},
        {"kind": "linear", "out_features": 2, "bias": False},
    ]
}


@pytest.mark.parametrize(
    ("precision", "scale"), [("float32", 2.0**-85), ("float32", 2.0**60), ("float64", 2.0**-600)]
)
@pytest.mark.parametrize(("model", "shape"), [(LINE, (5,)), (SEQUENCE, (3, 6))])
def test_figures_follow_the_scale_of_the_weights_of_the_error(
    model: dict[str, Any], shape: tuple[int, ...], precision: str, scale: float
) -> None:
    """Of absolute errors, whose gradient at the output is ±1, with all inputs scaled."""
    random = np.random.default_rng(1)
    inputs = random.normal(size=(6, *shape)).astype(np.float32).astype(float)
    targets = random.integers(0, 2, 6).astype(float)[:, None].repeat(3 if model is LINE else 2, 1)
    fields: dict[str, Any] = {"model": model, "precision": precision, "loss": "linear_error"}
    plain = ask(**fields, inputs=inputs.tolist(), targets=targets.tolist())

    found = ask(**fields, inputs=(inputs * scale).tolist(), targets=targets.tolist())

    first = "0.weight"
    assert flat(found.mean_gradient[first]) / scale == pytest.approx(
        flat(plain.mean_gradient[first]), rel=1e-5
    )
    if model is SEQUENCE:
        assert np.array(found.norms) / scale == pytest.approx(np.array(plain.norms), rel=1e-5)
        for name, shortcut in found.shortcuts.items():
            right = plain.shortcuts[name]
            assert shortcut.relative_error == pytest.approx(
                right.relative_error, rel=1e-4, abs=1e-6
            )
            assert shortcut.cosine_similarity == pytest.approx(right.cosine_similarity, rel=1e-5)
            for layer, own in zip(shortcut.layers or [], right.layers or [], strict=True):
                assert layer.covariance_norm is not None
                assert layer.covariance_norm / scale == pytest.approx(
                    own.covariance_norm, rel=1e-4, abs=1e-6
                )
