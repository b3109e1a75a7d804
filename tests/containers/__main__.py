"""`python -m tests.containers`: run pytest on tests/containers with Debian's Docker.

The command line is passed on to pytest.
"""

import os
import sys
from pathlib import Path

from tests.containers.engine import PATH, TOOLS
from tests.debian import need

ENABLED = "TEST_BATCHGRAD_CONTAINERS"


def main() -> None:
    """Replace this process by pytest, or exit with why not."""
    need("test-containers", TOOLS, path=PATH)
    os.environ[ENABLED] = "1"
    command = [sys.executable, "-m", "pytest", str(Path(__file__).parent), *sys.argv[1:]]
    os.execv(sys.executable, command)  # noqa: S606 - this very Python


if __name__ == "__main__":
    main()
