"""The command spec: write a first spec for a dataset."""
# ruff: noqa: PLC0415 (commands import what they need when they run, so that help is quick)

import re
from pathlib import Path
from typing import Annotated

import typer

from batchgrad.cli.common import Output, connect, write
from batchgrad.display.terminal import say
from batchgrad.errors import InvalidArgument


def register(app: typer.Typer) -> None:
    """Add `spec`."""
    app.command()(spec)


def spec(
    ctx: typer.Context,
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="The dataset's name.")],
    *,
    hidden: Annotated[
        str | None,
        typer.Option(
            metavar="N,N",
            help="Widths of hidden layers, or none for a linear network; default 32, for pictures "
            "two convolutions, none for a target of large numbers.",
        ),
    ] = None,
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it to this file, not to stdout.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Overwrite a file with this name.")
    ] = False,
    output: Output = "table",
) -> None:
    """Write a first spec for a dataset: commented YAML that trains as it stands.

    The loss and the last layer fit the targets, and a part of the examples is held out.

    batchgrad spec customers --to customers.yaml
    """
    from batchgrad.display.data.starter_spec import starter_spec
    from batchgrad.files import check_new_file, write_atomically
    from batchgrad.parsing.spec_files import parse_job

    widths = _widths(hidden)
    if to is not None:
        check_new_file(to, replace=replace)
    with connect(ctx) as client:
        text = starter_spec(client.dataset(dataset), widths)
    if to is not None:
        write_atomically(to, text.encode())
        say(f"Wrote {to}. Next: batchgrad run {to}")
    if output != "table":
        write(parse_job(text), output)
    elif to is None:
        typer.echo(text, nl=False)


def _widths(text: str | None) -> list[int] | None:
    if text is None or text == "none":
        return None if text is None else []
    if re.fullmatch(r"[1-9]\d{0,5}(,[1-9]\d{0,5})*", text) is None:
        raise InvalidArgument(
            f"--hidden is {text!r:.100}; expected widths, such as 64 or 64,32, or none."
        )
    return [int(width) for width in text.split(",")]
