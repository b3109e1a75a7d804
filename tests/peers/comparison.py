"""Compare our results with PyTorch's, within the tolerance that rounding requires."""

from math import sqrt
from typing import Any

import numpy as np

from batchgrad.contract import GradientsRequest
from batchgrad_service.problems import InvalidError
from batchgrad_service.questions.gradients import answer

ROOM = 60
"""Tolerance as a multiple of the effect of noise: sums have more rounding than one step."""

Findings = list[str]


def disagreements(request: dict[str, Any], peer: dict[str, Any]) -> Findings:
    """Descriptions of all differences; empty if the results agree."""
    precision = np.finfo(request["precision"])
    try:
        ours = answer(GradientsRequest.model_validate(request))
    except InvalidError as refusal:
        if peer["largest"] > float(precision.max) ** 0.5 or not np.isfinite(peer["largest"]):
            return []  # it may overflow on the way
        return [f"refused: {refusal}"]
    return _Comparison(request, peer, ours.model_dump(), precision).found


class _Comparison:
    def __init__(self, request: Any, peer: Any, ours: Any, precision: Any) -> None:
        self.found: Findings = []
        self._eps, self._most = float(precision.eps), float(precision.max) / 1e3
        self._floor = float(precision.tiny) * (1 + peer["largest"]) * 100
        weights = np.array(request["weights"] or [1.0] * len(peer["examples"]))
        self._weights = weights / weights.sum()
        examples = peer["examples"]
        self._per_example(ours, examples)
        self._means(ours, examples)

    def _per_example(self, ours: Any, examples: Any) -> None:
        for n, right in enumerate(examples):
            if any(np.abs(own).max(initial=0.0) > self._most for own in right["gradient"].values()):
                continue  # it may overflow
            bound = 0.0
            for name, gradient in right["gradient"].items():
                exact, own = np.array(gradient), np.ravel(ours["per_example"][n][name])
                room = self._room(right["spreads"][name], _norm(exact))
                self._check(f"example {n}, {name}", _norm(own - exact), room)
                bound += room
            exact = np.concatenate([*map(np.array, right["gradient"].values()), [0.0]])
            room = bound + 4 * sqrt(self._eps) * _norm(exact)
            norm = ours["norms"][n]
            if norm is None:
                self.found.append(f"norm {n} is null, right {_norm(exact)}")
            else:
                self._check(f"norm {n}", abs(norm - _norm(exact)), room)

    def _means(self, ours: Any, examples: Any) -> None:
        losses = np.array([each["loss"] for each in examples])
        spread = np.array([each["loss_spread"] for each in examples])
        weights = self._weights
        room = self._room(float(weights @ spread), float(weights @ np.abs(losses)))
        self._check("loss", abs(ours["loss"] - float(weights @ losses)), room)
        for name in examples[0]["gradient"]:
            each = np.array([own["gradient"][name] for own in examples])
            spread = np.array([own["spreads"][name] for own in examples])
            sizes = np.array([_norm(own) for own in each])
            room = self._room(float(weights @ spread), float(weights @ sizes))
            mean = np.ravel(ours["mean_gradient"][name])
            self._check(f"mean gradient {name}", _norm(mean - weights @ each), room)

    def _room(self, spread: float, size: float) -> float:
        return ROOM * (spread + self._eps * size) + self._floor

    def _check(self, what: str, off: float, room: float) -> None:
        if not off <= room and np.isfinite(room):
            self.found.append(f"{what} is off by {off:.3g}, at most {room:.3g} is rounding")


def _norm(vector: Any) -> float:
    """‖v‖ without overflow for finite numbers."""
    largest = float(np.abs(vector).max(initial=0.0))
    return largest * float(np.linalg.norm(vector / largest)) if largest else 0.0
