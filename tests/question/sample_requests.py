"""Sample requests for gradients, and their answers."""

from typing import Any

import numpy as np

from batchgrad.contract import GradientsRequest, GradientsResponse
from batchgrad_service.questions.gradients import answer

MLP = [
    {"kind": "linear", "out_features": 4},
    {"kind": "tanh"},
    {"kind": "linear", "out_features": 3},
]


def ask(**fields: Any) -> GradientsResponse:
    """The answer to the request with these fields."""
    return answer(GradientsRequest.model_validate(fields))


def digits(**fields: Any) -> dict[str, Any]:
    """Eight examples of five numbers in three classes, with what `fields` changes."""
    random = np.random.default_rng(5)
    return {
        "model": {"layers": MLP},
        "loss": "softmax_cross_entropy",
        "inputs": random.normal(size=(8, 5)).tolist(),
        "targets": random.integers(0, 3, 8).tolist(),
        "seed": 3,
        **fields,
    }
