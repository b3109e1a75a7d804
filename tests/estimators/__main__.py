"""`python -m tests.estimators`: scikit-learn's own checks of our estimators, on two processes."""

import os
import sys
from pathlib import Path

COLLECTED = "TEST_BATCHGRAD_ESTIMATORS"


def main() -> None:
    """Replace this process by pytest; pass the command line on."""
    os.environ[COLLECTED] = "1"
    os.environ["SCIPY_ARRAY_API"] = "1"  # one check needs it
    folder = str(Path(__file__).parent)
    options = ["--numprocesses", "2", *sys.argv[1:]]
    command = [sys.executable, "-m", "pytest", folder, *options]
    os.execv(sys.executable, command)  # noqa: S606 - this very Python


if __name__ == "__main__":
    main()
