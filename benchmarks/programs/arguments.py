"""The command line of a contestant's process."""

import argparse
import os
from collections.abc import Sequence

from benchmarks.workloads import WORKLOADS, Workload


def parse(methods: Sequence[str] = ()) -> tuple[Workload, int, str]:
    """The workload, the number of threads, and the selected one of `methods` ("" if none)."""
    parser = argparse.ArgumentParser()
    parser.add_argument("workload", choices=list(WORKLOADS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--method", choices=list(methods), default="", required=bool(methods))
    options = parser.parse_args()
    return WORKLOADS[options.workload], options.threads, options.method


def use_cores(count: int) -> None:
    """Restrict this process to `count` cores, for libraries that size their pools by the cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])
