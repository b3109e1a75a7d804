"""batchgrad's engine, in this process: whole private steps, with their rows.

Poisson sampling, clipping, exact noise, the charge on disk, SGD, and the row of each step; not the
service that stores the rows.
"""

import batchgrad_workers  # noqa: F401  # it chooses the kernels, so it must come before numpy

# isort: split
import tempfile
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import numpy as np

from batchgrad.contract import JobSpec
from batchgrad_engine.executors.inline import InlineExecutor
from batchgrad_engine.messages import PrivateStart
from batchgrad_engine.preparation.job import prepare
from batchgrad_engine.preparation.prepared import Prepared
from batchgrad_workers.data.source import DatasetSource
from batchgrad_workers.runtime.threads import ThreadPool, keep_freed_memory, single_threaded_blas
from benchmarks.bursts import Bursts, serve
from benchmarks.modules.programs.arguments import clock
from benchmarks.programs.arguments import parse
from benchmarks.workloads import (
    CLIP_NORM,
    DELTA,
    LEARNING_RATE,
    MOMENTUM,
    NOISE_MULTIPLIER,
    Workload,
    data,
)

STEPS = 10**7


def prepared(workload: Workload, directory: Path) -> Prepared:
    """Write the workload's dataset to `directory`; return a private job on it."""
    inputs, targets = data(workload)
    np.save(directory / "inputs.npy", inputs)
    np.save(directory / "targets.npy", targets)
    spec = JobSpec.model_validate(
        {
            "name": workload.name,
            "dataset": workload.name,
            "model": {"layers": list(workload.layers)},
            "loss": "softmax_cross_entropy",
            "optimizer": {"kind": "sgd", "learning_rate": LEARNING_RATE, "momentum": MOMENTUM},
            "batch_size": workload.batch_size,
            "steps": STEPS,
            "privacy": {
                "delta": DELTA,
                "noise_multiplier": NOISE_MULTIPLIER,
                "clip_norm": CLIP_NORM,
            },
        }
    )
    start = PrivateStart(
        sampling_rate=1.0,
        key=bytes(32).hex(),
        noise_multiplier=NOISE_MULTIPLIER,
        steps=[STEPS],
        epsilons=[1.0],  # what it is does not matter here
        steps_planned=STEPS,
    )
    return prepare(spec, DatasetSource(directory), None, private=start)


def main() -> None:
    """Run bursts until stdin ends."""
    workload, threads, _ = parse()
    single_threaded_blas()
    keep_freed_memory()
    with (
        tempfile.TemporaryDirectory(prefix="batchgrad-bench-") as folder,
        ThreadPool(threads) as pool,
    ):
        job = prepared(workload, Path(folder))
        with (
            closing(InlineExecutor(job.config, threads)) as executor,
            closing(job.private_coordinator(executor, pool, None, None, Path(folder))) as steps,
        ):
            number = 0

            def step() -> None:
                nonlocal number
                steps.step(number)
                steps.measured()
                number += 1

            serve(Bursts(step, clock=clock(threads)).run, {"batchgrad": version("batchgrad")})


if __name__ == "__main__":
    main()
