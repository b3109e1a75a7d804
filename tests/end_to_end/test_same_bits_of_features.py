"""Jobs with training features give the same bits for any workers, threads and interruptions."""

from collections.abc import Callable
from typing import Any

import pytest

from batchgrad.client import Client
from tests.end_to_end.digits_job import Bits, trained_bits

pytestmark = pytest.mark.ray

DROPPING = {
    "layers": [
        {"kind": "linear", "out_features": 32},
        {"kind": "relu"},
        {"kind": "dropout", "p": 0.3},
        {
            "kind": "residual",
            "layers": [
                {"kind": "group_norm", "num_groups": 4},
                {"kind": "dropout", "p": 0.1},
                {"kind": "linear", "out_features": 32},
            ],
        },
        {"kind": "linear", "out_features": 10},
    ]
}
COSINE = {"kind": "cosine", "warmup_steps": 10}
ADAMW = {"kind": "adamw", "learning_rate": 0.01, "schedule": COSINE, "clip_norm": 0.5}


@pytest.mark.parametrize(
    "features",
    [
        {"batch_size": "full", "optimizer": ADAMW},
        {"update": "averaged_error", "shortcuts": []},
        {"model": DROPPING, "label_smoothing": 0.1},
        {"sums": "bfloat16", "shortcuts": ["mean_of_means"]},
        {"update": "mean_of_means", "early_stopping": {"patience": 1}, "epochs": 30},
    ],
)
def test_workers_and_threads_do_not_change_the_bits(
    client: Client, alone: Callable[..., Bits], features: dict[str, Any]
) -> None:
    assert trained_bits(client, workers=3, threads=2, **features) == alone(**features)
