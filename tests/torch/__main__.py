"""`python -m tests.torch`: the tests of the torch engine, on two processes."""

import os
import sys
from pathlib import Path

COLLECTED = "TEST_BATCHGRAD_TORCH"


def main() -> None:
    """Replace this process by pytest; pass the command line on."""
    os.environ[COLLECTED] = "1"
    folder = str(Path(__file__).parent)
    # In the order of tests/torch/conftest.py: by numbers of tests, the longest would come last.
    parallel = ["--numprocesses", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
    options = [*parallel, *sys.argv[1:]]
    command = [sys.executable, "-m", "pytest", folder, *options]
    os.execv(sys.executable, command)  # noqa: S606 - this very Python


if __name__ == "__main__":
    main()
