"""The command datasets push: store a file as a dataset."""
# ruff: noqa: PLC0415 (commands import what they need when they run, so that help is quick)

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from batchgrad import timeouts
from batchgrad.cli.common import Output, connect, write
from batchgrad.cli.reading import (
    Decimal,
    Delimiter,
    Encoding,
    Format,
    Gaps,
    Mode,
    NoHeadings,
    ReadTimeout,
    Size,
    one_or_more,
    picture_options,
    text_options,
)


def _column(text: str, **more: Any) -> Any:
    return typer.Option(metavar="COLUMN", help=text, **more)


def register(datasets: typer.Typer) -> None:
    """Add `push`."""
    datasets.command()(push)


def push(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The dataset's name.")],
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            exists=True,
            help="CSV, TSV, JSON lines, Parquet, Arrow or npz file; a folder with a folder of "
            "pictures for each class, or of NAME.npy; or .npy files of inputs and targets.",
        ),
    ],
    *,
    target: Annotated[
        list[str] | None, _column("What to predict; several columns are several numbers.")
    ] = None,
    weight: Annotated[str | None, _column("Each row's weight.")] = None,
    id: Annotated[str | None, _column("Names a row; not an input.")] = None,  # noqa: A002
    units: Annotated[
        str | None, _column("What rows belong to, a person for example; not an input.")
    ] = None,
    split: Annotated[
        str | None, _column("Each row's set: train, validation or test; not an input.")
    ] = None,
    drop: Annotated[list[str] | None, _column("Do not use it; repeatable.")] = None,
    kinds: Annotated[
        list[str] | None,
        typer.Option(
            "--as",
            metavar="COLUMN=KIND",
            help="A column's kind, if it is not what its values look like: number, boolean, "
            "category or date; repeatable.",
        ),
    ] = None,
    missing: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[COLUMN=]RULE",
            help="How gaps are filled: refuse, mean, median, constant or indicator; repeatable "
            "with columns.",
        ),
    ] = None,
    constant: Annotated[
        float | None, typer.Option(metavar="NUMBER", help="Fills gaps of rule constant.")
    ] = None,
    missing_target: Annotated[
        Literal["refuse", "drop"] | None, typer.Option(help="What becomes of rows without target.")
    ] = None,
    dates: Annotated[
        Literal["days", "parts"] | None,
        typer.Option(help="Dates as days since 1970, or as year, month, day and weekday."),
    ] = None,
    max_categories: Annotated[
        int | None, typer.Option(metavar="N", help="Refuse a text column with more values.")
    ] = None,
    rare: Annotated[
        int | None,
        typer.Option(metavar="N", help="Categories with fewer training rows become one."),
    ] = None,
    target_kind: Annotated[
        Literal["classes", "numbers"] | None, typer.Option(help="What the target is.")
    ] = None,
    delimiter: Delimiter = None,
    decimal: Decimal = None,
    encoding: Encoding = None,
    no_headings: NoHeadings = False,
    gaps: Gaps = None,
    day_first: Annotated[
        bool | None,
        typer.Option("--day-first/--month-first", help="Whether 3/4/2026 is 3 April."),
    ] = None,
    format: Format = None,  # noqa: A002
    size: Size = None,
    mode: Mode = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a dataset with this name.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be taken; store nothing.")
    ] = False,
    timeout: ReadTimeout = timeouts.LONG_REQUEST,
    output: Output = "table",
) -> None:
    """Store a file under a name, and show what was taken of it.

    A broken transfer goes on where it was, also when the command runs again. Ctrl-C cancels.

    batchgrad datasets push customers customers.csv --target churned --drop id
    """
    from batchgrad.display.data.dataset_table import show_table
    from batchgrad.display.live.transfer import TransferDisplay
    from batchgrad.parsing.column_options import pairs, rules

    with connect(ctx) as client, TransferDisplay() as display:
        stored = client.put_dataset(
            name,
            one_or_more(files),
            target=None if not target else target if len(target) > 1 else target[0],
            weight=weight,
            id=id,
            units=units,
            split=split,
            drop=drop or None,
            kinds=pairs("--as", kinds),
            missing=rules("--missing", missing),
            constant=constant,
            missing_target=missing_target,
            dates=dates,
            max_categories=max_categories,
            rare=rare,
            target_kind=target_kind,
            day_first=day_first,
            format=format,
            **text_options(delimiter, decimal, encoding, gaps, no_headings=no_headings),
            **picture_options(size, mode),
            replace=replace,
            dry_run=dry_run,
            on_progress=display.update,
            timeout=timeout,
        )
    show_table(stored) if output == "table" else write(stored, output)
