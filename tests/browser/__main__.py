"""`python -m tests.browser`: run pytest on tests/browser with Debian's Chromium; install it first.

Playwright's own browsers are not used: they would be downloaded from another host.
"""

import os
import shutil
import sys
from pathlib import Path

from tests.debian import cannot, need

CHROMIUM = "TEST_BATCHGRAD_CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome")


def main() -> None:
    """Replace this process by pytest (pass the command line on), or exit with why not."""
    if not _found():
        need("test-browser", {"chromium": "chromium"}, "fonts-dejavu-core")
    os.environ[CHROMIUM] = _found() or cannot("test-browser", "Chromium was not installed.")
    # Two at a time, each with a service and a browser; a file's tests share both.
    parallel = ["-n", "2", "--dist", "loadfile"]
    command = [sys.executable, "-m", "pytest", str(Path(__file__).parent), *parallel, *sys.argv[1:]]
    os.execv(sys.executable, command)  # noqa: S606 - this very Python


def _found() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


if __name__ == "__main__":
    main()
