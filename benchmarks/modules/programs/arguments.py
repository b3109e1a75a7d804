"""The command line of a contestant's process."""

import argparse
from collections.abc import Sequence

from benchmarks.modules.workloads import ALL, ModuleWorkload


def parse(methods: Sequence[str] = ("",)) -> tuple[ModuleWorkload, int, str]:
    """The workload, the number of threads, and the selected one of `methods`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("workload", choices=list(ALL))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--method", choices=list(methods), default=methods[0])
    options = parser.parse_args()
    return ALL[options.workload], options.threads, options.method
