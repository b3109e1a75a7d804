"""Print lines, tables and properties."""
# ruff: noqa: PLC0415 (rich is imported by what needs it, so that help is quick)

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console


def say(message: str) -> None:
    """Print a line on stderr, for people."""
    typer.echo(message, err=True)


def console(*, err: bool = False) -> "Console":
    """A console for tables; without a terminal it is wide enough to cut nothing off."""
    from rich.console import Console

    stream = sys.stderr if err else sys.stdout
    width = None if stream.isatty() else 1000
    return Console(
        file=stream, width=width, markup=False, highlight=False, emoji=False, soft_wrap=True
    )


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, err: bool = False) -> None:
    """Print rows under headings on stdout, or on stderr if stdout is for machines."""
    from rich import box
    from rich.table import Table

    drawn = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)
    for column in drawn.columns:
        column.no_wrap = True
    for row in rows:
        drawn.add_row(*row)
    console(err=err).print(drawn)


def properties(pairs: Sequence[tuple[str, str]]) -> None:
    """Print properties on stdout, one on each line."""
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        typer.echo(f"{name:<{width}}  {value}")
