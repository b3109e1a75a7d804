"""`python -m tests.privacy`: the tests of differential privacy that take long, on two processes."""

import os
import sys
from pathlib import Path

COLLECTED = "TEST_BATCHGRAD_PRIVACY"


def main() -> None:
    """Replace this process by pytest; pass the command line on."""
    os.environ[COLLECTED] = "1"
    folder = str(Path(__file__).parent)
    options = ["--numprocesses", "2", "--dist", "loadfile", *sys.argv[1:]]
    command = [sys.executable, "-m", "pytest", folder, *options]
    os.execv(sys.executable, command)  # noqa: S606 - this very Python


if __name__ == "__main__":
    main()
