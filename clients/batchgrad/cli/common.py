"""The connection to the service, and output on stdout, for all commands."""
# ruff: noqa: PLC0415 (commands import what they need when they run, so that help is quick)

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from batchgrad.cli.streams import takes_unicode
from batchgrad.figures import number as number  # noqa: PLC0414 (every table needs it)

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console

    from batchgrad.client import Client

Output = Annotated[
    Literal["table", "json", "yaml"],
    typer.Option("--output", "-o", help="How results are written."),
]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.", show_default=False)]


class WithReference(TyperCommand):
    """A command whose help ends with the keys of its file, read from the contract when asked."""

    reference: str
    """The function of `batchgrad.reference` that tells them."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """After everything else."""
        super().format_epilog(ctx, formatter)
        from batchgrad import reference

        formatter.write(f"\n{getattr(reference, self.reference)()}")


class JobSpecHelp(WithReference):
    """A command that takes a job's spec."""

    reference = "job_spec"


class GradientsHelp(WithReference):
    """The command that takes a minibatch."""

    reference = "gradients_request"


def connect(ctx: typer.Context) -> "Client":
    """A client for BATCHGRAD_URL, or what `app(obj=...)` injects."""
    factory: Callable[[], Client] | None = ctx.find_root().obj
    if factory is None:
        from batchgrad import client

        return client.Client()
    return factory()


def say(message: str) -> None:
    """A line for people, on stderr."""
    typer.echo(message, err=True)


def console(*, err: bool = False) -> "Console":
    """Stdout for tables: as wide as it takes when it is no terminal, so nothing is cut off."""
    from rich.console import Console

    stream = sys.stderr if err else sys.stdout
    width = None if stream.isatty() else 1000
    return Console(
        file=stream, width=width, markup=False, highlight=False, emoji=False, soft_wrap=True
    )


def write(value: "BaseModel | Sequence[BaseModel] | Mapping[str, Any]", output: str) -> None:
    """A result as one JSON or YAML document."""
    if isinstance(value, Mapping):
        plain: Any = value
    elif isinstance(value, Sequence):
        plain = [one.model_dump(mode="json") for one in value]
    else:
        plain = value.model_dump(mode="json")
    if output == "json":
        import json

        typer.echo(json.dumps(plain, ensure_ascii=not takes_unicode()))
    else:
        import yaml

        text = yaml.safe_dump(
            plain, sort_keys=False, allow_unicode=takes_unicode(), explicit_start=True
        )
        typer.echo(text, nl=False)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, err: bool = False) -> None:
    """Rows under headings, on stdout, or on stderr where stdout is for machines."""
    from rich import box
    from rich.table import Table

    drawn = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)
    for column in drawn.columns:
        column.no_wrap = True
    for row in rows:
        drawn.add_row(*row)
    console(err=err).print(drawn)


def properties(pairs: Sequence[tuple[str, str]]) -> None:
    """One thing's properties, a line each, on stdout."""
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        typer.echo(f"{name:<{width}}  {value}")
