"""The blocks of each page, in order, in an empty folder: they succeed and print what is shown."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from batchgrad import Client
from tests.docs.blocks import ROOT, Block, blocks, pages
from tests.guide.conftest import Service

PATIENCE_SECONDS = 240
_NUMBER = re.compile(r"[-−+]?\d[\d.,]*(?:e[-+]?\d+)?")


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_page(page: Path, service: Service, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    for block in blocks(page.read_text(encoding="utf-8")):
        if not block.not_run:
            run(block, service, tmp_path)


def run(block: Block, service: Service, folder: Path) -> None:
    """Write a block's file, or run its commands; JOB stands for the newest job."""
    if block.file:
        (folder / block.file).write_text(block.text, encoding="utf-8")
    elif block.language == "python":
        program = with_job(block.text, service.client)
        output = shell([sys.executable, "-c", program], service.variables, folder, 0, block.line)
        assert "Traceback" not in output
    elif block.language == "console":
        commands = block.commands
        for command in commands:
            expected = block.exit_code if command is commands[-1] else 0
            line = ["bash", "-euo", "pipefail", "-c", with_job(command.line, service.client)]
            output = shell(line, service.variables, folder, expected, block.line)
            check_shown(command.shown, output, block.line)


def with_job(text: str, client: Client) -> str:
    """`text` with the newest job's id for the word JOB."""
    if not re.search(r"\bJOB\b", text):
        return text
    return re.sub(r"\bJOB\b", next(iter(client.jobs())).id, text)


def shell(
    command: list[str], variables: dict[str, str], folder: Path, expected: int, line: int
) -> str:
    """The output of a command, which must end with the exit code `expected`."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == expected, f"line {line}: {command[-1]}\n{done.stdout}"
    return done.stdout


def check_shown(shown: list[str], output: str, line: int) -> None:
    """Every line that the page shows is in the output, in this order, but for its numbers."""
    printed = iter(map(plain, output.splitlines()))
    for expected in map(plain, shown):
        if expected in {"", "…"}:
            continue
        pattern = re.escape(expected).replace("…", ".*")
        assert any(re.fullmatch(pattern, found) for found in printed), (
            f"line {line}: not printed, or not at this place: {expected!r}, in\n{output}"
        )


def plain(line: str) -> str:
    """A line without what differs from run to run: numbers, hashes, ids, the width of columns."""
    line = re.sub(r"[0-9a-f]{12,}|job_[0-9a-z]{16}", "#", line)
    line = _NUMBER.sub("#", line)
    return " ".join(re.sub("─+", "─", line).split())
