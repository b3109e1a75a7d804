"""The estimated memory of a job: rows that are held at once, by what computes them."""

from typing import Any

import pytest

from batchgrad_engine.training.memory import job_bytes, microbatch_numbers
from batchgrad_workers.nn.network import Network
from tests.engine.small_job import spec

WIDTH = 100
LINEAR = {"kind": "linear", "out_features": WIDTH}
DENSE = {"layers": [LINEAR, {"kind": "relu"}, LINEAR]}
PRIVATE = {
    "privacy": {"epsilon": 2, "delta": 1e-5, "clip_norm": 0.5},
    "validation_fraction": 0,
    "standardize": False,
}


@pytest.mark.parametrize(
    ("changes", "microbatches"),
    [
        ({}, 2),
        ({"batch_size": "full"}, 2),
        ({"batch_size": 255}, 1),
        ({"model": {"layers": [LINEAR, {"kind": "tanh"}, LINEAR]}}, 1),
        ({"sums": "bfloat16"}, 1),
        (PRIVATE, 1),
        ({"batch_size": 8192, "microbatch_size": 4096}, 1),
    ],
)
def test_rows_that_are_held_at_once(changes: dict[str, Any], microbatches: int) -> None:
    job = spec(**{"model": DENSE, "batch_size": 256, "microbatch_size": 128, **changes})
    network = Network(job.model, (WIDTH,))
    others = job_bytes(job, network) - 4 * microbatch_numbers(
        network, microbatches * job.microbatch
    )
    assert others == 4 * 9 * network.size
