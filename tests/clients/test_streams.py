"""A stdout that lacks characters or is closed."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
from batchgrad.cli import common
from batchgrad.display import streams, terminal
streams.prepare()
terminal.properties([("shown", "θ → 1 – 2 …")])
terminal.table(["a", "b"], [["–", "0.1 … 0.2"]])
common.write({"name": "ü – θ"}, "json")
common.write({"name": "ü – θ"}, "yaml")
"""


def written(encoding: str, *, closed: bool = False) -> subprocess.CompletedProcess[bytes]:
    shell = f'exec "$0" -c "$1" {">&-" if closed else ""}'
    command = ["sh", "-c", shell, sys.executable, SCRIPT]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    return subprocess.run(command, env=environment, capture_output=True, check=False)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_every_table_can_be_written(encoding: str) -> None:
    done = written(encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode("utf-8" if encoding == "ascii" else encoding)
    lines = text.splitlines()
    assert lines[0].startswith("shown  ")
    row = next(line for line in lines if "0.1" in line)
    assert ("–" in row) == (encoding == "utf-8")
    assert ("- " in row) == (encoding != "utf-8")
    as_json = {"utf-8": '{"name": "ü – θ"}'}.get(encoding, r'{"name": "\u00fc \u2013 \u03b8"}')
    assert as_json in lines


def test_a_closed_stdout_is_not_an_error() -> None:
    done = written("utf-8", closed=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_command_writes_so() -> None:
    command = [sys.executable, "-m", "batchgrad", "get", "--help"]
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"batchgrad get job_2x... --output json" in done.stdout
