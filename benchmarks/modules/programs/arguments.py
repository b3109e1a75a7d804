"""The command line of a contestant's process."""

import argparse
from collections.abc import Callable, Sequence
from time import perf_counter, process_time

from benchmarks.modules.workloads import ALL, ModuleWorkload


def parse(methods: Sequence[str] = ("",)) -> tuple[ModuleWorkload, int, str]:
    """The workload, the number of threads, and the selected one of `methods`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("workload", choices=list(ALL))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--method", choices=list(methods), default=methods[0])
    options = parser.parse_args()
    return ALL[options.workload], options.threads, options.method


def clock(threads: int) -> Callable[[], float]:
    """The clock of bursts: on one thread CPU time, to which other processes add little."""
    return process_time if threads == 1 else perf_counter
