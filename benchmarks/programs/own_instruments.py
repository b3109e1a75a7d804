"""batchgrad's engine, in this process: whole training steps with one instrument, all, or none.

`none` samples, computes sums and every example's norm (one pass makes both), reduces and updates.
"""

import batchgrad_workers  # noqa: F401  # it chooses the kernels, so it must come before numpy

# isort: split
import tempfile
from collections.abc import Callable
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import numpy as np

from batchgrad.contract import JobSpec
from batchgrad_engine.checkpoints.example_ledger import Ledger
from batchgrad_engine.executors.inline import InlineExecutor
from batchgrad_engine.measurement.measuring import MAX_BUFFERED_STEPS
from batchgrad_engine.messages import Sent, encode
from batchgrad_engine.preparation.job import prepare
from batchgrad_engine.preparation.prepared import Prepared
from batchgrad_engine.reporter import Reporter
from batchgrad_workers.data.source import DatasetSource
from batchgrad_workers.runtime.threads import ThreadPool, keep_freed_memory, single_threaded_blas
from benchmarks.bursts import Bursts, serve
from benchmarks.contestants import Ours, spec
from benchmarks.programs.arguments import parse
from benchmarks.workloads import Workload, data

METHODS = ("none", "ledger", "statistics", "shortcuts", "all")


def prepared(workload: Workload, directory: Path, *, shortcuts: bool) -> Prepared:
    """Write the workload's dataset to `directory`; return the benchmark's job on it."""
    inputs, targets = data(workload)
    np.save(directory / "inputs.npy", inputs)
    np.save(directory / "targets.npy", targets)
    ours = Ours("engine", "", {"workers": 0} | ({} if shortcuts else {"shortcuts": []}))
    job = JobSpec.model_validate(spec(ours, workload, workload.name))
    return prepare(job, DatasetSource(directory), None)


def stepper(job: Prepared, executor: InlineExecutor, method: str) -> Callable[[], None]:
    """One step of training with the instruments of `method`."""
    measures = method in {"statistics", "shortcuts", "all"}
    coordinator = job.coordinator(
        executor, ThreadPool(1), None, None, MAX_BUFFERED_STEPS if measures else 0
    )
    ledger = Ledger(len(job.examples)) if method in {"ledger", "all"} else None
    reporter = Reporter(_encoded, executor) if measures else None
    number = 0

    def step() -> None:
        nonlocal number
        minibatch = coordinator.step(number)
        number += 1
        if ledger is not None:
            ledger.add(minibatch.ids, minibatch.losses, minibatch.norms)
        if reporter is not None:
            for measured in coordinator.measured(include_pending=False):
                reporter.add(measured)
            if reporter.due:
                reporter.flush()

    return step


def _encoded(message: Sent) -> None:
    encode(message)


def main() -> None:
    """Run bursts until stdin ends."""
    workload, threads, method = parse(METHODS)
    single_threaded_blas()
    keep_freed_memory()
    with tempfile.TemporaryDirectory(prefix="batchgrad-bench-") as folder:
        job = prepared(workload, Path(folder), shortcuts=method in {"shortcuts", "all"})
        with closing(InlineExecutor(job.config, threads)) as executor:
            serve(Bursts(stepper(job, executor, method)).run, {"batchgrad": version("batchgrad")})


if __name__ == "__main__":
    main()
