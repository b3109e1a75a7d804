"""A program that measures how much memory one step of a worker needs, and prints JSON.

Arguments: the model as JSON, the dataset's directory, N, B.
"""

import json
import sys
from pathlib import Path

import numpy as np

from batchgrad.contract import Model
from batchgrad_workers.data.source import DatasetSource
from batchgrad_workers.runtime.config import WorkerConfig
from batchgrad_workers.runtime.shard import ShardRunner, microbatches
from batchgrad_workers.runtime.threads import single_threaded_blas


def status(field: str) -> int:
    """A figure of /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(field)


def main(model: str, directory: str, batch: str, microbatch: str) -> None:
    """One step with norms, and means for both shortcuts."""
    single_threaded_blas()
    worker_config = WorkerConfig(
        model=Model.model_validate_json(model),
        loss="softmax_cross_entropy",
        precision="float32",
        dataset=DatasetSource(Path(directory)),
        seed=0,
        validation=None,
        validation_dataset=None,
        batch_size=int(batch),
        microbatch_size=int(microbatch),
        class_weights=None,
        transform=None,
        shortcuts=("averaged_error", "mean_example"),
        drop_nonfinite=False,
    )
    shard = ShardRunner(worker_config, 1)
    theta = shard.model.initial_parameters(0, "float32")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew, proc(5)
    before = status("VmRSS")
    found = shard.gradient_sums(0, theta, 0, microbatches(int(batch), int(microbatch)))
    grown = status("VmHWM") - before
    shard.close()
    finite = bool(np.isfinite(found.nodes[0].sum.gradient).all())
    sys.stdout.write(
        json.dumps(
            {
                "grown": grown,
                "parameters": shard.layout.size,
                "finite": finite,
                "examples": len(found.norms),
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
