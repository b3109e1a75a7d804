"""`python -m tests.stress`: run pytest on tests/stress: load, kills and bad input."""

import os
import sys
from pathlib import Path

COLLECTED = "TEST_BATCHGRAD_STRESS"


def main() -> None:
    """Replace this process by pytest; pass the command line on."""
    os.environ[COLLECTED] = "1"
    command = [sys.executable, "-m", "pytest", str(Path(__file__).parent), *sys.argv[1:]]
    os.execv(sys.executable, command)  # noqa: S606 - this very Python


if __name__ == "__main__":
    main()
