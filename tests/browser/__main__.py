"""`python -m tests.browser`: pytest on tests/browser, with Debian's Chromium, installed if missing.

Playwright's own browsers are not used: they would be downloaded from another host.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

CHROMIUM = "BATCHGRAD_TEST_CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome")


def main() -> None:
    """Become pytest, or say why not; what follows on the command line is pytest's."""
    if not _found():
        _install()
    os.environ[CHROMIUM] = _found() or sys.exit("make test-browser: Chromium was not installed.")
    command = [sys.executable, "-m", "pytest", str(Path(__file__).parent), *sys.argv[1:]]
    os.execv(sys.executable, command)  # noqa: S606 - this very Python


def _found() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def _install() -> None:
    command = "apt-get install --no-install-recommends chromium"
    if os.geteuid() or not shutil.which("apt-get"):
        sys.exit(f"make test-browser needs Chromium: as root on Debian, {command}.")
    quiet = ["apt-get", "-qq", "-o", "Dpkg::Use-Pty=0"]
    subprocess.run([*quiet, "update"], check=True)
    subprocess.run(
        [*quiet, "install", "--yes", "--no-install-recommends", "chromium", "fonts-dejavu-core"],
        check=True,
    )


if __name__ == "__main__":
    main()
