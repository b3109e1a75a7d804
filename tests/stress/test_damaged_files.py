"""Many damaged files of every format are read or refused, with bounded memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.reading.damaged_files import LIMIT_BYTES, OUTCOMES

COUNT = 8_000


@pytest.mark.parametrize("seed", range(20_261_128, 20_261_133))
def test_every_file_is_read_or_refused(tmp_path: Path, seed: int) -> None:
    command = [sys.executable, "-m", "tests.service.reading.damaged_files", str(seed), str(COUNT)]
    done = subprocess.run([*command, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stderr}; the file is {tmp_path / 'file'}"
    seen = json.loads(done.stdout)
    assert seen.pop("peak_bytes") < LIMIT_BYTES + 300 * 2**20
    assert seen.keys() <= set(OUTCOMES)
    assert sum(seen.values()) == COUNT
    assert seen["read"] > COUNT // 20
