"""Damaged files of every format are read or refused, with bounded memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.reading.damaged_files import LIMIT_BYTES, OUTCOMES, PICTURES, TABLES, outcome
from tests.service.reading.files import zipped

COUNT = 400


def test_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.service.reading.damaged_files", "1", str(COUNT)]
    done = subprocess.run([*command, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    peak = seen.pop("peak_bytes")
    assert seen.keys() <= set(OUTCOMES)
    assert sum(seen.values()) == COUNT
    assert seen["refused"] > COUNT // 2
    assert seen["read"] > COUNT // 20
    assert peak < LIMIT_BYTES + 300 * 2**20  # the interpreter and its libraries come before


@pytest.mark.parametrize("kind", TABLES)
def test_whole_files_are_read(tmp_path: Path, kind: str) -> None:
    expected = "refused" if "nested" in kind else "read"
    assert outcome(tmp_path, *TABLES[kind], {}) == expected


@pytest.mark.parametrize("name", PICTURES)
def test_whole_pictures_are_read(tmp_path: Path, name: str) -> None:
    content = zipped({f"a/{name}": PICTURES[name], f"b/{name}": PICTURES[name]})
    assert outcome(tmp_path, "a.zip", content, {}) == "read"
