"""The job that the engine's tests run."""

from typing import Any

from batchgrad.contract import JobSpec


def spec(**changes: Any) -> JobSpec:
    """A small job: 4 epochs of 5 steps, the last minibatch and microbatches shorter."""
    return JobSpec.model_validate(
        {
            "name": "small",
            "dataset": "small",
            "model": {
                "layers": [
                    {"kind": "linear", "out_features": 5},
                    {"kind": "tanh"},
                    {"kind": "linear", "out_features": 3},
                ]
            },
            "loss": "softmax_cross_entropy",
            "optimizer": {"kind": "sgd", "learning_rate": 0.1, "momentum": 0.9},
            "batch_size": 20,
            "microbatch_size": 3,
            "epochs": 4,
            "validation_fraction": 0.1,
            "standardize": True,
            "workers": 0,
            "threads": 1,
        }
        | changes
    )
