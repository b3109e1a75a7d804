"""`python -m tests.stress`: run pytest on tests/stress: load, kills and bad input."""

import os
import signal
import subprocess
import sys
from pathlib import Path

COLLECTED = "TEST_BATCHGRAD_STRESS"
HERE = Path(__file__).parent
MEASURING = [str(HERE / name) for name in ("test_connections.py", "test_small_requests.py")]
"""They measure waits and CPU time, so they run alone."""

INTERRUPTED, NO_TESTS = 2, 5


def main() -> None:
    """Run pytest twice, with this command line: most files two at a time, then those that measure.

    Exit with the first status that is not 0.
    """
    os.environ[COLLECTED] = "1"
    signal.signal(signal.SIGINT, lambda *_: None)  # pytest gets it as well, and cleans up
    ignored = [f"--ignore={each}" for each in MEASURING]
    found = []
    for files in ([str(HERE), *ignored, "-n", "2", "--dist", "loadfile"], MEASURING):
        command = [sys.executable, "-m", "pytest", *files, *sys.argv[1:]]
        found.append(subprocess.run(command, check=False).returncode)
        if found[-1] == INTERRUPTED:
            break
    if set(found) == {NO_TESTS}:
        sys.exit(NO_TESTS)
    sys.exit(next((status for status in found if status not in {0, NO_TESTS}), 0))


if __name__ == "__main__":
    main()
