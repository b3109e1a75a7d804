"""`make test-large` alone collects these tests: they take minutes, and much space on the disk."""

import os

import pytest

from tests.large.__main__ import GIGABYTES

collect_ignore_glob = [] if os.environ.get(GIGABYTES) else ["test_*.py"]


@pytest.fixture(scope="session")
def gigabytes() -> float:
    """The size of the file that is pushed."""
    return float(os.environ[GIGABYTES])
