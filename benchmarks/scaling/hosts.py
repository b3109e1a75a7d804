"""Becomes `benchmarks.scaling.measure` where it may make hosts; arguments are passed on."""

import sys

from tests.cluster.__main__ import become

if __name__ == "__main__":
    become("bench-scale", [sys.executable, "-m", "benchmarks.scaling.measure", *sys.argv[1:]])
