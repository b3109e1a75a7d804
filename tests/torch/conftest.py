import batchgrad_workers  # noqa: F401  # before numpy: engines and tests shall compute equal bits

# isort: split
import os
import sys
from pathlib import Path

from tests.torch.__main__ import COLLECTED

named = any("tests/torch" in argument for argument in sys.argv)
if os.environ.get(COLLECTED) is None and not named:
    collect_ignore_glob = [str(Path(__file__).parent / "**/test_*.py")]
else:
    import torch

    torch.set_num_threads(1)
