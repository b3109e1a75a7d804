"""`batchgrad serve` before it serves: what is wrong or missing is said, and nothing starts."""

import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from batchgrad.cli.app import app


def test_a_reachable_host_without_a_token_is_a_usage_error(tmp_path: Path) -> None:
    arguments = ["serve", "--host", "0.0.0.0", "--data-dir", str(tmp_path / "data")]  # noqa: S104
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert "token" in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_token_file_that_holds_none_is_a_usage_error(tmp_path: Path) -> None:
    token = tmp_path / "token"
    arguments = ["serve", "--token-file", str(token), "--data-dir", str(tmp_path / "data")]
    missing = CliRunner().invoke(app, arguments)
    token.write_text("short")
    short = CliRunner().invoke(app, arguments)
    assert (missing.exit_code, short.exit_code) == (2, 2)
    assert "cannot be read" in missing.stderr
    assert "16" in short.stderr


def test_a_missing_extra_is_named() -> None:
    code = (
        "import sys\n"
        "sys.modules['pydantic_settings'] = None\n"  # as good as not installed
        "sys.argv = ['batchgrad', 'serve']\n"
        "from batchgrad.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, text=True)
    assert done.returncode == 1
    assert "pip install 'batchgrad[service]'" in done.stderr
    assert "Traceback" not in done.stderr
