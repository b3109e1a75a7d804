"""The commands examples (a job's ledger, or the influence of examples on a step) and rows."""
# ruff: noqa: PLC0415 (commands import what they need when they run, so that help is quick)

from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast, get_args

import typer

from batchgrad import timeouts
from batchgrad.cli.common import JobId, Output, Timeout, connect, write
from batchgrad.display.numbers import number, percent
from batchgrad.display.terminal import properties, say, table

if TYPE_CHECKING:
    from batchgrad.contract import Ledger, RowSet, StepExamples


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(examples)
    app.command()(rows)


def examples(
    ctx: typer.Context,
    job: JobId,
    *,
    order: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="Sort by mean_norm (default), mean_loss, last_norm, last_loss, times_seen or "
            "example; with --step by share (default), norm, alignment, leave_one_out_distance, "
            "loss or example.",
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=10_000, metavar="N", help="Maximum number of examples.")
    ] = 20,
    step: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Replay this step and show each example's influence on it."
        ),
    ] = None,
    predictions: Annotated[
        bool,
        typer.Option(
            "--predictions", help="Add what the parameters that the job keeps say of each example."
        ),
    ] = False,
    timeout: Timeout = timeouts.LONG_REQUEST,
    output: Annotated[
        Literal["table", "json", "yaml", "csv"],
        typer.Option("--output", "-o", help="Format of the result on stdout; csv not with --step."),
    ] = "table",
) -> None:
    """Show the loss and gradient norm of single examples, the largest first.

    Examples whose loss or gradient stays large over the whole run are often mislabelled.

    batchgrad examples job_2x… --order mean_loss --limit 50
    """
    from batchgrad.contract import InfluenceOrder, LedgerOrder

    known = get_args(LedgerOrder if step is None else InfluenceOrder)
    if order is not None and order not in known:
        raise typer.BadParameter(
            f"{order}: expected one of {', '.join(known)}{' (with --step)' if step else ''}.",
            param_hint="--order",
        )
    if step is not None and (predictions or output == "csv"):
        raise typer.BadParameter(
            "--predictions and --output csv are of the ledger: leave out --step.",
            param_hint="--step",
        )
    chosen: Any = order or known[0]
    with connect(ctx) as client:
        if step is None:
            _write_ledger(
                client.examples(job, order=chosen, limit=limit, predictions=predictions), output
            )
        else:
            parts = client.step_examples(job, step, order=chosen, limit=limit, timeout=timeout)
            _show_step(parts) if output == "table" else write(parts, output)


def rows(
    ctx: typer.Context,
    job: JobId,
    *,
    rows_of: Annotated[
        str, typer.Option("--set", metavar="SET", help="training, validation or test.")
    ] = "validation",
    output: Output = "table",
) -> None:
    """List the rows that a job trains on, or holds out: their numbers, and their ids.

    With --output json one object for each row. Numbers are those of the dataset, from 0.

    batchgrad rows job_2x… --set validation
    """
    from batchgrad.contract import RowSet

    if rows_of not in get_args(RowSet):
        raise typer.BadParameter(
            f"{rows_of}: expected one of {', '.join(get_args(RowSet))}.", param_hint="--set"
        )
    with connect(ctx) as client:
        found = client.rows(job, set=cast("RowSet", rows_of))
        first = next(found, None)
        if first is None:
            say(f"Job {job} has no {rows_of} rows.")
            return
        if output == "table":
            typer.echo("example" if first.id is None else "   example  id")
        for row in chain([first], found):
            if output != "table":
                write(row, output)
            elif row.id is None:
                typer.echo(str(row.example))
            else:
                typer.echo(f"{row.example:10}  {row.id}")


def _write_ledger(ledger: "Ledger", output: str) -> None:
    if output == "csv":
        from batchgrad.downloads.csv_files import ledger_csv

        typer.echo(ledger_csv(ledger), nl=False)
    elif output == "table":
        _show_ledger(ledger)
    else:
        write(ledger, output)


def _show_ledger(ledger: "Ledger") -> None:
    by = ledger.parameters_step
    predicted = [] if by is None else [("predictions", f"of the parameters of step {by}")]
    properties([("up to step", str(ledger.step)), ("order", ledger.order), *predicted])
    ids = any(x.id is not None for x in ledger.data)
    table(
        [
            "example",
            *(["id"] if ids else []),
            "target",
            *(["prediction", "probability"] if predicted else []),
            "seen",
            "mean norm",
            "mean loss",
            "last norm",
            "last loss",
        ],
        [
            [
                str(x.example),
                *([x.id or "–"] if ids else []),
                _shown(x.target if x.class_name is None else x.class_name),
                *([_shown(x.prediction), percent(x.probability)] if predicted else []),
                str(x.times_seen),
                *map(number, (x.mean_norm, x.mean_loss, x.last_norm, x.last_loss)),
            ]
            for x in ledger.data
        ],
    )


def _shown(answer: "str | float | list[float] | None") -> str:
    """A class or its number, or numbers."""
    if isinstance(answer, list):
        return ", ".join(map(number, answer))
    return number(answer) if isinstance(answer, float) else "–" if answer is None else str(answer)


def _show_step(parts: "StepExamples") -> None:
    checked = "the run's own" if parts.verified else "NOT the run's"
    properties(
        [
            ("step", f"{parts.step}, replayed from step {parts.replayed_from}"),
            ("gradient norm", number(parts.gradient_norm)),
            ("gradient", f"{parts.gradient_checksum}, {checked}"),
        ]
    )
    ids = any(x.id is not None for x in parts.data)
    table(
        [
            "example",
            *(["id"] if ids else []),
            "share",
            "norm",
            "alignment",
            "without it",
            "loss",
            "weight",
        ],
        [
            [
                str(x.example),
                *([x.id or "–"] if ids else []),
                *map(number, (x.share, x.norm, x.alignment, x.leave_one_out_distance)),
                *map(number, (x.loss, x.weight)),
            ]
            for x in parts.data
        ],
    )
