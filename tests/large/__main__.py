"""`python -m tests.large [--gigabytes N]`: run pytest on tests/large."""

import argparse
import os
import sys
from pathlib import Path

GIGABYTES = "TEST_BATCHGRAD_GIGABYTES"
"""The size of the file that is pushed; only with it, pytest collects this folder."""


def main() -> None:
    """Replace this process by pytest; pass the rest of the command line on."""
    parser = argparse.ArgumentParser(prog="tests.large")
    parser.add_argument("--gigabytes", type=float, default=0.25)
    own, others = parser.parse_known_args()
    os.environ[GIGABYTES] = str(own.gigabytes)
    # Figures are printed while the tests run: -s.
    command = [sys.executable, "-m", "pytest", "-s", str(Path(__file__).parent), *others]
    os.execv(sys.executable, command)  # noqa: S606 - this very Python


if __name__ == "__main__":
    main()
