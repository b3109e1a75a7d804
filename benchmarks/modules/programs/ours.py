"""batchgrad's worker alone: sum of gradients and every example's norm, with means, or clipped."""

from importlib.metadata import version

import numpy as np
import torch

from batchgrad_workers.reduction.clipping import ClippingRule, PrivateRows
from batchgrad_workers.runtime.threads import keep_freed_memory
from batchgrad_workers.torch import together
from batchgrad_workers.torch.clipping import Clipper
from batchgrad_workers.torch.determinism import prepare_process
from batchgrad_workers.torch.replica import Batch, Replica
from batchgrad_workers.torch.trainable import layout_of
from benchmarks.bursts import Bursts, serve
from benchmarks.memory import start_peak
from benchmarks.modules.models import minibatches
from benchmarks.modules.programs.arguments import clock, parse
from benchmarks.modules.tasks import build
from benchmarks.modules.workloads import data


def main() -> None:
    """Run bursts until stdin ends."""
    workload, threads, method = parse(("norms", "means", "clipped"))
    prepare_process()
    keep_freed_memory()
    replica, gather = Replica(build({"workload": workload.name})), minibatches(workload)
    names, ones = list(data(workload, 1)), torch.ones(workload.batch_size)

    def batch() -> Batch:
        return Batch(dict(zip(names, gather(), strict=True)), ones)

    first, base_bytes = batch(), start_peak()
    trace = together.trace(replica, first)
    half = float(together.sums(replica, first, trace).norms.median())
    clipper = Clipper(trace, layout_of(replica), ClippingRule("flat", half))
    rows = PrivateRows(np.ones(workload.batch_size))

    def step() -> None:
        if method == "clipped":
            clipper.sums(replica, batch(), rows)
        else:
            together.sums(replica, batch(), trace, means=method == "means")

    serve(
        Bursts(step, clock=clock(threads)).run,
        {"batchgrad": version("batchgrad")},
        base_bytes=base_bytes,
    )


if __name__ == "__main__":
    main()
