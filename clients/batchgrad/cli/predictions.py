"""The commands predict and evaluate."""
# ruff: noqa: PLC0415 (commands import what they need when they run, so that help is quick)

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from batchgrad import timeouts
from batchgrad.cli.common import JobId, Output, connect, write
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

Examples = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[FILE]",
        exists=True,
        help="What `datasets push` takes: CSV, Parquet, npz, a folder of pictures, …",
        show_default=False,
    ),
]
Dataset = Annotated[
    str | None, typer.Option(metavar="NAME", help="A dataset of the service, instead of a file.")
]
Which = Annotated[
    Literal["best", "last"] | None,
    typer.Option(help="The job's best or last parameters; default those that it keeps."),
]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(predict)
    app.command()(evaluate)


def predict(
    ctx: typer.Context,
    job: JobId,
    files: Examples = None,
    *,
    to: Annotated[
        Path, typer.Option(metavar="FILE", help="Where to write: .csv, .jsonl, .parquet or .npz.")
    ],
    dataset: Dataset = None,
    which: Which = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Overwrite a file with this name.")
    ] = False,
    format: Format = None,  # noqa: A002
    delimiter: Delimiter = None,
    decimal: Decimal = None,
    encoding: Encoding = None,
    no_headings: NoHeadings = False,
    gaps: Gaps = None,
    size: Size = None,
    mode: Mode = None,
    timeout: ReadTimeout = timeouts.LONG_REQUEST,
    output: Output = "table",
) -> None:
    """Predict the rows of a file by a job's parameters.

    The file's rows are raw: the job's encoding is applied, columns are found by their names. The
    result has a column `prediction`, and for classes a column `probability_CLASS` for each.

    batchgrad predict job_2x… new.csv --to predictions.csv
    """
    from batchgrad.display.live.transfer import TransferDisplay
    from batchgrad.display.terminal import say

    text = text_options(delimiter, decimal, encoding, gaps, no_headings=no_headings)
    reading = _reading(format, text, picture_options(size, mode))
    with connect(ctx) as client, TransferDisplay() as display:
        written = client.predict_to(
            job,
            to,
            one_or_more(files),
            dataset=dataset,
            which=which,
            replace=replace,
            on_progress=display.update,
            timeout=timeout,
            **reading,
        )
    if output == "table":
        say(f"Wrote {written}.")
    else:
        write({"file": str(written)}, output)


def evaluate(
    ctx: typer.Context,
    job: JobId,
    files: Examples = None,
    *,
    dataset: Dataset = None,
    set: Annotated[  # noqa: A002
        Literal["training", "validation", "test"] | None,
        typer.Option(help="These rows of the job's own dataset, instead of a file."),
    ] = None,
    which: Which = None,
    format: Format = None,  # noqa: A002
    delimiter: Delimiter = None,
    decimal: Decimal = None,
    encoding: Encoding = None,
    no_headings: NoHeadings = False,
    gaps: Gaps = None,
    size: Size = None,
    mode: Mode = None,
    timeout: ReadTimeout = timeouts.LONG_REQUEST,
    output: Output = "table",
) -> None:
    """Show how good a job's parameters are on examples with known targets.

    Loss, and for classes accuracy, balanced accuracy, AUC and the confusion matrix; for numbers
    R², RMSE and MAE.

    batchgrad evaluate job_2x… test.csv
    """
    from batchgrad.display.data.evaluation import show_evaluation
    from batchgrad.display.live.transfer import TransferDisplay

    text = text_options(delimiter, decimal, encoding, gaps, no_headings=no_headings)
    reading = _reading(format, text, picture_options(size, mode))
    with connect(ctx) as client, TransferDisplay() as display:
        found = client.evaluate(
            job,
            one_or_more(files),
            dataset=dataset,
            set=set,
            which=which,
            on_progress=display.update,
            timeout=timeout,
            **reading,
        )
    show_evaluation(found) if output == "table" else write(found, output)


def _reading(format_: Any, text: dict[str, Any], pictures: dict[str, Any]) -> dict[str, Any]:
    """How the file is to be read: format, text and pictures, without what was not given."""
    from batchgrad.data.options import given

    return given(format=format_, text=text or None, pictures=pictures or None)
