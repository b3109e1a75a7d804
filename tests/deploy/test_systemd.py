"""The systemd unit file, checked without a running systemd."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from batchgrad_service.settings import Settings

UNIT = Path(__file__).parents[2] / "deploy/systemd/batchgrad.service"


def test_stopping_leaves_engines_the_time_that_they_may_take() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(UNIT)
    service = unit["Service"]
    assert service["KillMode"] == "mixed"
    assert (
        int(service["TimeoutStopSec"])
        > Settings.model_fields["engine_stop_timeout_seconds"].default + 15
    )
    assert service["StateDirectoryMode"] == "0700"
    assert "serve" in service["ExecStart"].split()


@pytest.mark.parametrize("wrong", ["", "KillMod=mixed\n"])
def test_systemd_reads_it(tmp_path: Path, wrong: str) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed here")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("[Service]\n", f"[Service]\n{wrong}"))
    command = [program, "verify", "--man=no", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ("Unknown key" in done.stderr) == bool(wrong), done.stderr
