"""Fixtures of the stress tests. `make test-stress` alone collects them: they take minutes."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.debian import cannot_run
from tests.end_to_end.conftest import client, data_folder
from tests.stress.__main__ import COLLECTED

__all__ = ["client", "data_folder"]

collect_ignore_glob = [] if os.environ.get(COLLECTED) else ["test_*.py"]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mount disks in memory with limited bytes and inodes (0: no limit); unmount them later."""
    if os.geteuid() != 0:
        cannot_run("mounting a small disk needs root")
    with ExitStack() as mounted:

        def mount(size_bytes: int, inodes: int = 0) -> Path:
            folder = tmp_path / f"disk of {size_bytes}"
            folder.mkdir()
            _run(
                "mount",
                "-t",
                "tmpfs",
                "-o",
                f"size={size_bytes},nr_inodes={inodes}",
                "tmpfs",
                str(folder),
            )
            mounted.callback(_run, "umount", "--lazy", str(folder))
            return folder

        yield mount


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
