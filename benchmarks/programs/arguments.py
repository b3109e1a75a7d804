"""What every contestant's process is told on its command line."""

import argparse
import os
from collections.abc import Sequence

from benchmarks.workloads import WORKLOADS, Workload


def parse(methods: Sequence[str] = ()) -> tuple[Workload, int, str]:
    """The workload, the number of threads, and which of `methods` is meant ("" if none)."""
    parser = argparse.ArgumentParser()
    parser.add_argument("workload", choices=list(WORKLOADS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--method", choices=list(methods), default="", required=bool(methods))
    told = parser.parse_args()
    return WORKLOADS[told.workload], told.threads, told.method


def use_cores(count: int) -> None:
    """Keep this process on `count` cores, for libraries that size their pools by them."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])
