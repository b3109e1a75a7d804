"""`python -m tests.monitoring`: finds Prometheus and Alertmanager, then runs pytest here.

What follows on the command line is pytest's. Programs and data are in one temporary directory,
which goes with the run.
"""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.monitoring.programs import FOLDER_VARIABLE, ProgramsMissingError, find

LIMIT_SECONDS = "600"


def main() -> int:
    """Pytest's exit status."""
    with TemporaryDirectory(prefix="batchgrad-monitoring-") as folder:
        try:
            find(Path(folder))
        except ProgramsMissingError as error:
            sys.stderr.write(f"make test-monitoring needs Prometheus and Alertmanager: {error}\n")
            return 1
        tests = str(Path(__file__).parent)
        command = ("timeout", LIMIT_SECONDS, sys.executable, "-m", "pytest", tests, *sys.argv[1:])
        return subprocess.run(
            command,
            env=os.environ | {FOLDER_VARIABLE: folder},
            check=False,
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
