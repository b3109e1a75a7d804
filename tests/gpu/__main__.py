"""`python -m tests.gpu`: the torch engine on a GPU; where there is none it says so aloud."""

import os
import sys
from pathlib import Path

import torch

from tests.debian import cannot

ENABLED = "TEST_BATCHGRAD_GPU"


def main() -> None:
    """Replace this process by pytest, or say why not."""
    if not torch.cuda.is_available():
        cannot("test-gpu", "PyTorch finds no GPU on this machine.")
    os.environ[ENABLED] = "1"
    command = [sys.executable, "-m", "pytest", str(Path(__file__).parent), *sys.argv[1:]]
    os.execv(sys.executable, command)  # noqa: S606 - this very Python


if __name__ == "__main__":
    main()
