"""Run as a process of its own: how far one step raises a worker's memory. Prints JSON.

Arguments: the model as JSON, the dataset's directory, N, B.
"""

import json
import sys
from pathlib import Path

import numpy as np

from batchgrad.contract import Model
from batchgrad_workers.shard import Setup, Shard, microbatches
from batchgrad_workers.source import DatasetSource
from batchgrad_workers.threads import single_threaded_blas


def status(field: str) -> int:
    """A figure of /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(field)


def shard(model: str, directory: str, batch: int, microbatch: int) -> Shard:
    """Computes with norms, and means for both shortcuts."""
    setup = Setup(
        model=Model.model_validate_json(model),
        loss="softmax_cross_entropy",
        precision="float32",
        dataset=DatasetSource(Path(directory)),
        seed=0,
        validation_fraction=0.0,
        batch_size=batch,
        microbatch_size=microbatch,
        class_weights=None,
        standardization=None,
        shortcuts=("averaged_error", "mean_example"),
        drop_nonfinite=False,
    )
    return Shard(setup, 1)


def main(model: str, directory: str, batch: int, microbatch: int) -> None:
    """One step, after one of two examples: the compiler's own memory is no part of a step."""
    single_threaded_blas()
    small = shard(model, directory, 2, 1)
    theta = small.network.initial_parameters(0, "float32")
    small.gradient_sums(0, theta, 0, 2)
    own = shard(model, directory, batch, microbatch)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew, proc(5)
    before = status("VmRSS")
    found = own.gradient_sums(0, theta, 0, microbatches(batch, microbatch))
    grown = status("VmHWM") - before
    finite = bool(np.isfinite(found.nodes[0].sum.gradient).all())
    sys.stdout.write(
        json.dumps(
            {
                "grown": grown,
                "parameters": own.network.size,
                "finite": finite,
                "examples": len(found.squared_norms),
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
