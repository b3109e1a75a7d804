"""Run `benchmarks.scaling.measure` in namespaces where it may create hosts; pass arguments on."""

import sys

from tests.cluster.__main__ import become

if __name__ == "__main__":
    become("bench-scale", [sys.executable, "-m", "benchmarks.scaling.measure", *sys.argv[1:]])
