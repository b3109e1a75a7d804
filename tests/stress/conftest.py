"""What the stress tests share. Collected by `make test-stress` alone: they take minutes."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.stress.__main__ import COLLECTED

collect_ignore_glob = [] if os.environ.get(COLLECTED) else ["test_*.py"]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Makes a disk of so many bytes, in memory; it is unmounted afterwards."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    with ExitStack() as mounted:

        def mount(size_bytes: int) -> Path:
            folder = tmp_path / f"disk of {size_bytes}"
            folder.mkdir()
            _run("mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder))
            mounted.callback(_run, "umount", "--lazy", str(folder))
            return folder

        yield mount


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
