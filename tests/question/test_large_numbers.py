"""Numbers that are legal JSON and too large for what must hold them are refused like any other."""

from typing import Any

import pytest

from batchgrad_service.problems import InvalidError
from tests.question.sample_requests import ask


def line(**fields: Any) -> dict[str, Any]:
    return {
        "model": {"layers": [{"kind": "linear", "out_features": 1}]},
        "loss": "squared_error",
        "inputs": [[1.0], [2.0], [3.0]],
        "targets": [1.0, 2.0, 3.0],
        **fields,
    }


def refusal(**fields: Any) -> tuple[str, str]:
    with pytest.raises(InvalidError) as caught:
        ask(**line(**fields))
    [error] = caught.value.errors
    return error.pointer, error.detail


def test_an_input_beyond_float32_is_named_as_it_arrived() -> None:
    pointer, detail = refusal(inputs=[[1.0], [1e300], [3.0]], precision="float32")

    assert pointer == "/inputs/1/0"
    assert "1e+300" in detail


def test_a_target_beyond_float32_is_named_as_it_arrived() -> None:
    pointer, detail = refusal(targets=[1.0, 1e300, 3.0], precision="float32")

    assert pointer.startswith("/targets")
    assert "1e+300" in detail


def test_finite_examples_whose_sum_overflows_are_refused() -> None:
    """Σ ℓ of four losses of 1e308."""
    pointer, detail = refusal(loss="absolute_error", inputs=[[1.0]] * 4, targets=[1e308] * 4)

    assert pointer == "/inputs"
    assert "sum is not" in detail


def test_more_axes_than_an_array_can_have_are_refused() -> None:
    nested: list[Any] = [1.0]
    for _ in range(69):
        nested = [nested]

    pointer, _ = refusal(inputs=nested, targets=[1.0])

    assert pointer.startswith("/inputs")
