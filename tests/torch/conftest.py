import batchgrad_workers  # noqa: F401  # before numpy: engines and tests shall compute equal bits

# isort: split
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.engine.conftest import dataset
from tests.torch.__main__ import COLLECTED

__all__ = ["dataset"]

named = any("tests/torch" in argument for argument in sys.argv)
if os.environ.get(COLLECTED) is None and not named:
    collect_ignore_glob = ["test_*.py", "*/test_*.py"]
else:
    import torch

    torch.set_num_threads(1)


LONGEST = ("test_same_bits", "test_train", "test_examples", "test_module_jobs")
"""Files that take minutes: first, so that two processes end together."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest files first, the others in their order."""
    items.sort(key=lambda item: item.path.stem not in LONGEST)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """60 rows of 12 ids, each id the one before plus 1 or 2."""
    directory = tmp_path / "text"
    directory.mkdir()
    steps = np.random.default_rng(5).integers(1, 3, (60, 12))
    np.save(directory / "input_ids.npy", steps.cumsum(axis=1) % 30)
    return directory
