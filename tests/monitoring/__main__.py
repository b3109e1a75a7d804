"""`python -m tests.monitoring`: install Prometheus, Alertmanager and npm, then run pytest.

The command line is passed on to pytest. All data is in one temporary directory, deleted
with the run.
"""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.debian import need
from tests.monitoring.programs import ENABLED, PROGRAMS

LIMIT_SECONDS = "600"


def main() -> int:
    """Run pytest; return its exit status."""
    with TemporaryDirectory(prefix="batchgrad-monitoring-") as folder:
        need("test-monitoring", PROGRAMS)
        tests = str(Path(__file__).parent)
        pytest = (sys.executable, "-m", "pytest", tests, f"--basetemp={folder}/data")
        command = ("timeout", LIMIT_SECONDS, *pytest, *sys.argv[1:])
        return subprocess.run(
            command,
            env=os.environ | {ENABLED: "1"},
            check=False,
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
