"""`python -m tests.monitoring`: sees to Prometheus, Alertmanager and npm, then runs pytest here.

What follows on the command line is pytest's. All data is in one temporary directory, which goes
with the run.
"""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.debian import need
from tests.monitoring.programs import ASKED_FOR, PROGRAMS

LIMIT_SECONDS = "600"


def main() -> int:
    """Pytest's exit status."""
    with TemporaryDirectory(prefix="batchgrad-monitoring-") as folder:
        need("test-monitoring", PROGRAMS)
        tests = str(Path(__file__).parent)
        pytest = (sys.executable, "-m", "pytest", tests, f"--basetemp={folder}/data")
        command = ("timeout", LIMIT_SECONDS, *pytest, *sys.argv[1:])
        return subprocess.run(
            command,
            env=os.environ | {ASKED_FOR: "1"},
            check=False,
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
