"""`python -m tests.containers`: pytest on tests/containers, with Debian's Docker.

What follows on the command line is pytest's.
"""

import os
import sys
from pathlib import Path

from tests.containers.engine import PATH, TOOLS
from tests.debian import need

ASKED_FOR = "TEST_BATCHGRAD_CONTAINERS"


def main() -> None:
    """Become pytest, or say why not."""
    need("test-containers", TOOLS, path=PATH)
    os.environ[ASKED_FOR] = "1"
    command = [sys.executable, "-m", "pytest", str(Path(__file__).parent), *sys.argv[1:]]
    os.execv(sys.executable, command)  # noqa: S606 - this very Python


if __name__ == "__main__":
    main()
