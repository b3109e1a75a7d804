"""`python -m tests.guide`: run pytest on tests/guide, which runs the blocks of README and guide."""

import os
import sys
from pathlib import Path

from tests.docs.blocks import ROOT, blocks, pages

COLLECTED = "TEST_BATCHGRAD_GUIDE"


def main() -> None:
    """Say which blocks are not run, then replace this process by pytest; pass the command line."""
    for page in pages():
        for block in blocks(page.read_text(encoding="utf-8")):
            if block.not_run:
                print(f"{page.relative_to(ROOT)}:{block.line} is not run: {block.not_run}")  # noqa: T201
    os.environ[COLLECTED] = "1"
    folder = str(Path(__file__).parent)
    options = ["--numprocesses", "2", *sys.argv[1:]]  # each process has a service of its own
    command = [sys.executable, "-m", "pytest", folder, *options]
    os.execv(sys.executable, command)  # noqa: S606 - this very Python


if __name__ == "__main__":
    main()
