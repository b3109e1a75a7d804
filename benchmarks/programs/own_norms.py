"""batchgrad's worker alone, in this process: mean gradient and every example's norm, with gather.

No service, no optimizer, no shortcuts: what the per-example peers do, and nothing else.
"""

import batchgrad_workers  # noqa: F401  # it chooses the kernels, so it must come before numpy

# isort: split
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np

from batchgrad.contract import Model
from batchgrad_workers.data.source import DatasetSource
from batchgrad_workers.reduction.sums import WEIGHT, GradientSums
from batchgrad_workers.reduction.tree import ReductionTree
from batchgrad_workers.runtime.config import WorkerConfig
from batchgrad_workers.runtime.shard import ShardRunner, microbatches
from batchgrad_workers.runtime.threads import keep_freed_memory, single_threaded_blas
from benchmarks.bursts import Bursts, serve
from benchmarks.programs.arguments import parse
from benchmarks.workloads import Workload, data

MICROBATCH = 128  # the service's default


def worker_config(workload: Workload, directory: Path) -> WorkerConfig:
    """Write the workload's dataset to `directory`; return the configuration of a worker for it."""
    inputs, targets = data(workload)
    np.save(directory / "inputs.npy", inputs)
    np.save(directory / "targets.npy", targets)
    return WorkerConfig(
        model=Model.model_validate({"layers": list(workload.layers)}),
        loss="softmax_cross_entropy",
        precision="float32",
        dataset=DatasetSource(directory),
        seed=0,
        validation=None,
        validation_dataset=None,
        batch_size=workload.batch_size,
        microbatch_size=min(workload.batch_size, MICROBATCH),
        class_weights=None,
        transform=None,
        shortcuts=(),
        drop_nonfinite=False,
    )


def main() -> None:
    workload, threads, _ = parse()
    single_threaded_blas()
    keep_freed_memory()
    with tempfile.TemporaryDirectory(prefix="batchgrad-bench-") as folder:
        job = worker_config(workload, Path(folder))
        shard = ShardRunner(job, threads)
        parameters = shard.model.initial_parameters(0, "float32")
        count = microbatches(job.batch_size, job.microbatch_size)
        number = 0

        def step() -> None:
            nonlocal number
            part = shard.gradient_sums(number, parameters, 0, count)
            tree: ReductionTree[GradientSums] = ReductionTree(count, GradientSums.join)
            for node in part.nodes:
                tree.add(node.level, node.index, node.sum)
            sums = tree.root()
            sums.gradient /= np.float32(sums.totals[WEIGHT])
            number += 1

        serve(Bursts(step).run, {"batchgrad": version("batchgrad")})
        shard.close()


if __name__ == "__main__":
    main()
