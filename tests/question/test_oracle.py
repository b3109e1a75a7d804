"""Answers against those of an independent float64 implementation."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchgrad.contract import LAYERS, LOSSES, GradientsRequest
from batchgrad_service.questions.gradients import answer
from tests.question.comparison import assert_agrees, flat

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "fixtures" / "gradients.json").read_text()
)


def _with_identity_above(case: dict[str, Any]) -> dict[str, Any]:
    """The same case under an identity layer: every expected number stays."""
    request = case["request"]
    layers = [*request["model"]["layers"], {"kind": "identity"}]
    return {
        "name": f"{case['name']}, identity above",
        "request": {**request, "model": {**request["model"], "layers": layers}},
        "expected": case["expected"],
    }


CASES.append(_with_identity_above(next(case for case in CASES if case["name"] == "mlp tanh")))


def test_the_layers_and_losses_that_the_implementation_had_have_a_case() -> None:
    """16 and 6; later ones are checked by explicit loops alone."""
    layers = {layer["kind"] for case in CASES for layer in case["request"]["model"]["layers"]}
    losses = {case["request"]["loss"] for case in CASES}

    assert layers <= {*LAYERS}
    assert losses <= {*LOSSES}
    assert (len(layers), len(losses)) == (16, 6)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_every_field_agrees_in_float64(case: dict[str, Any]) -> None:
    response = answer(GradientsRequest.model_validate(case["request"]))

    assert_agrees(response, case["expected"], 1e-9, floor=1e-15)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_gradients_agree_in_float32(case: dict[str, Any]) -> None:
    request = GradientsRequest.model_validate({**case["request"], "precision": "float32"})
    want = case["expected"]

    response = answer(request)

    pairs = [(response.mean_gradient, want["mean_gradient"])]
    pairs += zip(response.per_example or [], want.get("per_example", []), strict=True)
    pairs += [
        (response.shortcuts[name].gradient, shortcut["gradient"])
        for name, shortcut in want["shortcuts"].items()
    ]
    for got, reference in pairs:
        error = np.linalg.norm(flat(got) - flat(reference))
        assert error <= 2e-4 * np.linalg.norm(flat(reference))
