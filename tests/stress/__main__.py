"""`python -m tests.stress`: pytest on tests/stress, the service under load, kills and bad input."""

import os
import sys
from pathlib import Path

COLLECTED = "TEST_BATCHGRAD_STRESS"


def main() -> None:
    """Become pytest; what follows on the command line is pytest's."""
    os.environ[COLLECTED] = "1"
    command = [sys.executable, "-m", "pytest", str(Path(__file__).parent), *sys.argv[1:]]
    os.execv(sys.executable, command)  # noqa: S606 - this very Python


if __name__ == "__main__":
    main()
