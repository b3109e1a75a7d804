"""The commands get, list, wait, events and steps."""
# ruff: noqa: PLC0415 (commands import what they need when they run, so that help is quick)

from typing import TYPE_CHECKING, Annotated, cast

import typer

from batchgrad.cli.common import JobId, Output, StepsHelp, connect, write
from batchgrad.cli.training import watching
from batchgrad.cli.training.service import WaitTimeout

if TYPE_CHECKING:
    from batchgrad.contract import Event, JobStatus


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (get, wait, events):
        app.command()(command)
    app.command(cls=StepsHelp)(steps)
    app.command("list")(list_jobs)


def get(ctx: typer.Context, job: JobId, *, output: Output = "table") -> None:
    """Show a job.

    batchgrad get job_2x… --output json
    """
    with connect(ctx) as client:
        watching.show(client.job(job), output)


def list_jobs(
    ctx: typer.Context,
    *,
    status: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STATUS", help="Only jobs in this state, such as running; repeatable."
        ),
    ] = None,
    label: Annotated[
        str | None, typer.Option(metavar="KEY=VALUE", help="Only jobs with this label.")
    ] = None,
    search: Annotated[
        str | None,
        typer.Option(
            metavar="WORDS",
            help="Only jobs with each of these words in the name, id, dataset or a label "
            "KEY=VALUE.",
        ),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Sort all these jobs by a figure or a key of the spec, such as validation_loss, "
            "created or optimizer.learning_rate; the smallest first, jobs without it last.",
        ),
    ] = None,
    descending: Annotated[
        bool, typer.Option("--descending", help="With --sort: the largest first.")
    ] = False,
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--columns",
            metavar="NAME,NAME",
            help="Show these values, named as for --sort; repeatable.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Maximum number of jobs.")] = 20,
    output: Output = "table",
) -> None:
    """List jobs, newest first.

    batchgrad list --label sweep=digits-3f9a --sort validation_loss --columns id,batch_size,loss
    """
    from itertools import islice

    from batchgrad.contract import JOB_STATUSES
    from batchgrad.display import jobs
    from batchgrad.display.tables import columns

    unknown = set(status or ()) - set(JOB_STATUSES)
    if unknown:
        raise typer.BadParameter(
            f"{', '.join(sorted(unknown))}: expected one of {', '.join(JOB_STATUSES)}.",
            param_hint="--status",
        )
    if descending and sort is None:
        raise typer.BadParameter("give it with --sort NAME.", param_hint="--descending")
    statuses = cast("list[JobStatus]", status or [])
    chosen = [name.strip() for text in names or () for name in text.split(",")]
    with connect(ctx) as client:
        newest = client.jobs(status=statuses, label=label, search=search)
        found = list(newest if sort else islice(newest, limit))
    rows = [columns.values(job) for job in found]
    [*chosen, key] = columns.resolve([*chosen, sort or "created_at"], rows)
    if sort:
        order = columns.ordered(rows, key, descending=descending)[:limit]
        found, rows = [found[index] for index in order], [rows[index] for index in order]
    if output == "table":
        jobs.show_jobs(rows, chosen or columns.default(rows))
    elif chosen:
        write([{name: row.get(name) for name in chosen} for row in rows], output)
    else:
        write(found, output)


def wait(
    ctx: typer.Context,
    job: JobId,
    *,
    timeout: WaitTimeout = None,
    output: Output = "table",
) -> None:
    """Follow a job to its end.

    The exit code says how the job ended. Ctrl-C stops following, not the job.

    batchgrad wait job_2x… --timeout 600 && echo trained
    """
    with connect(ctx) as client:
        watching.watch(client, job, timeout, output)


def events(
    ctx: typer.Context,
    job: JobId,
    *,
    after: Annotated[
        int, typer.Option(min=0, metavar="N", help="Only events after this number.")
    ] = 0,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Wait for more events until the job ends.")
    ] = False,
    progress: Annotated[
        bool, typer.Option("--progress", help="Include progress events, up to five a second.")
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="SECONDS", help="With --follow: exit with 101 after this time."
        ),
    ] = None,
    output: Output = "table",
) -> None:
    """Print a job's events.

    One line for each event, times in UTC; with --output json one object for each.

    batchgrad events job_2x… --follow
    """
    from batchgrad.display.events import sentence

    def take(event: "Event") -> None:
        if output != "table":
            write(event, output)
        else:
            when = event.time.strftime("%Y-%m-%d %H:%M:%S")
            typer.echo(f"{event.seq:>6}  {when}  {event.type:<13}  {sentence(event)}".rstrip())

    with connect(ctx) as client:
        if follow:
            watching.follow(client, job, after, take, progress=progress, timeout=timeout)
            return
        for event in client.events(job, after=after, progress=progress):
            take(event)


def steps(
    ctx: typer.Context,
    job: JobId,
    *,
    after: Annotated[
        int, typer.Option(min=0, metavar="N", help="Only steps after this number.")
    ] = 0,
    max_points: Annotated[
        int | None,
        typer.Option(
            min=2, metavar="N", help="Maximum number of steps, evenly spaced; default all."
        ),
    ] = None,
    output: Output = "table",
) -> None:
    """Print the figures of a job's steps.

    One line for each step, with the gap of each shortcut; with --output json one object for each.

    batchgrad steps job_2x… --max-points 20
    """
    from batchgrad.display.steps import StepTable

    table: StepTable | None = None
    with connect(ctx) as client:
        for row in client.steps(job, after=after, max_points=max_points):
            if output != "table":
                write(row, output)
                continue
            if table is None:
                table = StepTable(row)
                typer.echo(table.heading())
            typer.echo(table.line(row))
