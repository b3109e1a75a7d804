"""Blocks of README and guide are well formed, and name commands and options that exist.

`make test-docs` runs them.
"""

import ast
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from batchgrad.cli.app import app
from tests.docs.blocks import ROOT, Block, blocks, pages

CONTENT = {"csv", "json", "ini"}
"""Languages of files that are neither programs nor specs."""


def unknown_words(command: str) -> Iterator[str]:
    """Commands and options of `batchgrad` in a shell's command line that do not exist."""
    words = shlex.split(command, comments=True)
    while "batchgrad" in words:
        words = words[words.index("batchgrad") + 1 :]
        at: Any = get_command(app)
        options = {option for parameter in at.params for option in parameter.opts}
        for word in words:
            if word in {"|", "&&", ";", ">", "batchgrad"}:
                break
            if word in {"-h", "--help"}:
                continue
            if hasattr(at, "commands"):
                if word in at.commands:
                    at = at.commands[word]
                    options |= {option for parameter in at.params for option in parameter.opts}
                elif not word.startswith("-"):
                    yield word
            if word.startswith("-") and word.partition("=")[0] not in options and word != "-":
                yield word


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", pages(), ids=page_id)
def test_blocks_are_well_formed(page: Path) -> None:
    for block in blocks(page.read_text(encoding="utf-8")):
        check(block)


def check(block: Block) -> None:
    where = f"line {block.line}"
    if block.language == "console":
        for command in block.commands if not block.not_run else ():
            assert list(unknown_words(command.line)) == [], where
    elif block.language == "python":
        ast.parse(block.text)
    elif block.language == "yaml":
        yaml.safe_load(block.text)
    else:
        known = {"", *CONTENT}
        assert block.language in known or block.language.startswith("{"), where


def test_marks_and_commands_are_read() -> None:
    page = """text
<!-- not run: no network -->
```console
$ one
```

<!-- file: a.csv -->
```csv
x
```
<!-- exit: 100 -->
```console
$ batchgrad submit \\
    a.yaml   # a comment's end
shown
$ python -c "
print(1)"
1
```
"""
    first, second, third = blocks(page)
    assert (first.not_run, first.line, first.language) == ("no network", 3, "console")
    assert (second.file, second.text) == ("a.csv", "x\n")
    assert third.exit_code == 100
    submit, python = third.commands
    assert submit.line == "batchgrad submit \\\n    a.yaml   # a comment's end"
    assert submit.shown == ["shown"]
    assert (python.line, python.shown) == ('python -c "\nprint(1)"', ["1"])


def test_a_wrong_command_and_a_wrong_option_are_found() -> None:
    wrong = "batchgrad datasets psuh a b | batchgrad list --outptu json && batchgrad -x"
    assert list(unknown_words(wrong)) == ["psuh", "a", "b", "--outptu", "-x"]
    assert list(unknown_words("batchgrad list --output json | jq --raw .")) == []
