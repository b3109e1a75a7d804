"""Answers against those of an independent float64 implementation."""

import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from batchgrad.contract import GradientsRequest, Loss
from batchgrad.contract.model import AnyLayer
from batchgrad_service.questions.gradients import answer
from tests.question.agreeing import assert_agrees, flat

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


def test_layers_and_losses_of_every_kind_have_a_case() -> None:
    layers = {layer["kind"] for case in CASES for layer in case["request"]["model"]["layers"]}
    losses = {case["request"]["loss"] for case in CASES}

    kinds = [get_args(layer.model_fields["kind"].annotation) for layer in get_args(AnyLayer)]
    assert layers == {kind for names in kinds for kind in names}
    assert losses == set(get_args(Loss))


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
