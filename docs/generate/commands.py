"""The reference of the command line: every command with its help, arguments and options."""

import re
from typing import Any, cast

import typer
from typer.cli import get_docs_for_click

from batchgrad.cli.app import app


def commands() -> str:
    """The page's generated part; an example in a help becomes a block."""
    command = typer.main.get_command(app)
    context = cast("Any", command.make_context("batchgrad", [], resilient_parsing=True))
    text = get_docs_for_click(obj=command, ctx=context, name="batchgrad")
    text = text[text.index("\n## ") :]
    return re.sub(r"^((?:batchgrad .*\n)+)", _block, text, flags=re.MULTILINE)


def _block(lines: re.Match[str]) -> str:
    return "```console\n" + re.sub("^", "$ ", lines[1].rstrip(), flags=re.MULTILINE) + "\n```\n"
