"""The command sweep: train a spec with many values of its keys, and compare the jobs."""
# ruff: noqa: PLC0415 (commands import what they need when they run, so that help is quick)

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from batchgrad.cli.common import JobSpecHelp, Output, write
from batchgrad.cli.training.service import (
    Data,
    Private,
    WaitTimeout,
    named_files,
    running_or_private,
    store_data,
)
from batchgrad.cli.training.submit import Overrides, SpecFile
from batchgrad.cli.training.watching import CANCELLED, NOT_FINISHED
from batchgrad.display.terminal import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchgrad.client import Client
    from batchgrad.contract import Job

FAILED = 100
BY = "--set or --over"


def register(app: typer.Typer) -> None:
    """Add `sweep`."""
    app.command(cls=JobSpecHelp)(sweep)


def sweep(
    ctx: typer.Context,
    spec: SpecFile,
    *,
    over: Annotated[
        list[str],
        typer.Option(
            "--over",
            metavar="KEY=VALUE,VALUE",
            help="Train with each of these values, written as for --set; repeatable. With "
            "--samples also a range: 0.001..0.1, or log:0.001..0.1 for uniform logarithms.",
        ),
    ],
    samples: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Draw N combinations; default: train all of them."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of the samples.")] = 0,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Value of the jobs' label `sweep`; default SPEC's name and digits."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the jobs' values without creating a job.")
    ] = False,
    private: Private = False,
    data: Data = None,
    timeout: WaitTimeout = None,
    override: Overrides = None,
    output: Output = "table",
) -> None:
    """Train one job for each combination of values, and print their results, the best first.

    Sorted by the validation figure, or by the last loss without validation examples. Exits with
    100 if a job failed. Ctrl-C stops following, not the jobs, except those of a private service.

    batchgrad sweep digits.yaml --over optimizer.learning_rate=0.01,0.1 --over batch_size=64,256

    batchgrad sweep digits.yaml --over optimizer.learning_rate=log:0.001..1 --samples 20
    """
    from batchgrad.parsing import sweeps
    from batchgrad.parsing.spec_files import load_job, naming_lines

    files = named_files(data)
    values = sweeps.read_over(over)
    chosen = sweeps.choices(values, samples, seed)
    # The first job's spec is checked as a whole, with the lines of the file.
    first = [f"{key}={json.dumps(value)}" for key, value in chosen[0].items()]
    changes = [*(override or ()), *first]
    loaded = load_job(spec, changes, by=BY)
    if dry_run:
        _show_choices(chosen, output)
        return
    with running_or_private(ctx, private=private) as client, naming_lines(spec, changes, by=BY):
        store_data(client, files, loaded.dataset)
        jobs = client.sweep(loaded, values, samples=samples, seed=seed, name=name)
        say(f"Submitted {len(jobs)} jobs with the label sweep={jobs[0].labels['sweep']}.")
        for warning in dict.fromkeys(text for job in jobs for text in job.warnings):
            say(f"warning: {warning}")
        jobs, unfinished = _follow(client, jobs, list(values), timeout, lasting=not private)
    _show(jobs, list(values), output, lasting=not private)
    if unfinished:
        raise typer.Exit(unfinished)
    statuses = {job.status for job in jobs}
    if "failed" in statuses:
        raise typer.Exit(FAILED)
    if statuses != {"succeeded"}:
        raise typer.Exit(CANCELLED)


def _follow(
    client: "Client",
    jobs: "list[Job]",
    keys: "Sequence[str]",
    timeout: float | None,
    *,
    lasting: bool,
) -> "tuple[list[Job], int]":
    """The jobs at their ends, and 0; or as they are when following stops, and the exit code."""
    from batchgrad.contract import TERMINAL
    from batchgrad.display.live.sweep import SweepDisplay
    from batchgrad.errors import NotFinished

    code = NOT_FINISHED
    try:
        with SweepDisplay(keys) as display:
            for current in client.watch_all([job.id for job in jobs], timeout=timeout):
                jobs = current
                display.update(jobs)
                waiting = [job for job in jobs if job.status not in TERMINAL]
                if waiting and all(job.status == "paused" for job in waiting):
                    say(f"{len(waiting)} jobs are paused: batchgrad resume JOB")
                    return jobs, NOT_FINISHED
    except NotFinished as error:
        say(f"batchgrad: {error if lasting else 'The time is over.'}")
    except KeyboardInterrupt:
        say("\nStopped following." if lasting else "\nInterrupted.")
        code = NOT_FINISHED if lasting else CANCELLED
    else:
        return jobs, 0
    if not lasting:
        say("The private service is gone, with the jobs that had not ended.")
        return jobs, code
    label = jobs[0].labels["sweep"]
    say("The jobs that have not ended go on.")
    say(f"See them: batchgrad list --label sweep={label} --sort validation_loss")
    say("Stop one: batchgrad cancel JOB")
    return jobs, NOT_FINISHED


def _show_choices(chosen: "Sequence[dict[str, Any]]", output: str) -> None:
    from batchgrad.display.tables import columns
    from batchgrad.display.terminal import table

    if output != "table":
        write({"jobs": list(chosen)}, output)
        return
    table(list(chosen[0]), [[columns.cell(key, one) for key in one] for one in chosen])
    say(f"{len(chosen)} jobs.")


def _show(jobs: "list[Job]", keys: "Sequence[str]", output: str, *, lasting: bool) -> None:
    """Print the results, the best first."""
    from batchgrad.display import jobs as tables
    from batchgrad.display.tables.sweep import FIGURES, best_first

    figure, rows = best_first(jobs, keys)
    if output != "table":
        name = jobs[0].labels["sweep"]
        write({"sweep": name, "sorted_by": figure, "jobs": rows}, output)
        return
    others = [one for one in FIGURES if one != figure]
    shown = [one for one in others if any(row[one] is not None for row in rows)]
    tables.show_jobs(rows, [*["id"] * lasting, *keys, "status", "step", figure, *shown])
    if not any(row[figure] is not None for row in rows):
        say(f"No job shows a {figure.replace('_', ' ')}, so none is the best.")
        if any(job.privacy is not None for job in jobs):
            say("Private jobs show one with privacy.report, or an accuracy with held-out rows.")
        return
    say(f"Sorted by {figure.replace('_', ' ')}, the best first.")
    if lasting and jobs:
        say(f"Next: batchgrad download {rows[0]['id']}")
