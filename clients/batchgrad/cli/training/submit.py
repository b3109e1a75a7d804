"""The commands submit and run."""
# ruff: noqa: PLC0415 (commands import what they need when they run, so that help is quick)

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from batchgrad.cli.common import JobSpecHelp, Output, connect, write
from batchgrad.cli.training import watching
from batchgrad.cli.training.service import (
    Data,
    Private,
    WaitTimeout,
    named_files,
    running_or_private,
    store_data,
)
from batchgrad.display.terminal import say

if TYPE_CHECKING:
    from batchgrad.client import Client
    from batchgrad.contract import Job, JobSpec

SpecFile = Annotated[
    str, typer.Argument(metavar="SPEC", help='YAML or JSON; "-" reads standard input.')
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the spec; repeatable."),
]
Code = Annotated[
    Path | None,
    typer.Option(
        "--code",
        metavar="PATH",
        help="Send this folder, Python file or wheel, which holds what model.torch names.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command(cls=JobSpecHelp)(submit)
    app.command(cls=JobSpecHelp)(run)


def submit(
    ctx: typer.Context,
    spec: SpecFile,
    *,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch", help="Follow the job to its end; Ctrl-C stops following, not the job."
        ),
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option(min=0, metavar="SECONDS", help="With --watch: exit with 101 after this time."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan without creating a job.")
    ] = False,
    code: Code = None,
    override: Overrides = None,
    output: Output = "table",
) -> None:
    """Submit a job and print its id.

    batchgrad submit digits.yaml --watch --set optimizer.learning_rate=0.05
    """
    from batchgrad.display import jobs
    from batchgrad.parsing.spec_files import load_job, naming_lines

    loaded = load_job(spec, override or ())
    with connect(ctx) as client, naming_lines(spec, override or ()):
        if dry_run:
            plan = client.plan(loaded, code=code)
            if output == "table":
                jobs.show_plan(plan, loaded, override or ())
            else:
                write(plan, output)
            return
        job = _submitted(client, loaded, output, code)
        if watch:
            watching.watch(client, job.id, timeout, output)
            return
        if output != "table":
            write(job, output)
    say(f"Next: batchgrad wait {job.id}   (or get, events, cancel, download)")


def run(
    ctx: typer.Context,
    spec: SpecFile,
    *,
    private: Private = False,
    data: Data = None,
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Also write the trained parameters: FILE.safetensors or FILE.npz."
        ),
    ] = None,
    timeout: WaitTimeout = None,
    code: Code = None,
    override: Overrides = None,
    output: Output = "table",
) -> None:
    """Train a job: store its data, submit it, follow it to its end, print the result.

    The exit code says how the job ended. `run` is `submit --watch`, and can also bring data, write
    the parameters, and use a private service. The datasets digits, digits_images, diabetes and
    breast_cancer come with scikit-learn and are stored if they are missing.

    batchgrad run --private examples/mlp.yaml --to digits.safetensors
    """
    from batchgrad.files import check_target
    from batchgrad.parsing.spec_files import load_job, naming_lines

    files = named_files(data)
    loaded = load_job(spec, override or ())
    if to is not None:
        check_target(to)
    with running_or_private(ctx, private=private) as client, naming_lines(spec, override or ()):
        store_data(client, files, loaded.dataset)
        job = _submitted(client, loaded, output, code)
        watching.watch(client, job.id, timeout, output, lasting=not private)
        if to is not None:
            say(f"Wrote the parameters to {client.download(job.id, to)}.")


def _submitted(client: "Client", spec: "JobSpec", output: str, code: Path | None) -> "Job":
    """Submit a job, and print its warnings and its id."""
    job = client.submit(spec, code=code)
    for warning in job.warnings:
        say(f"warning: {warning}")
    if output == "table":
        typer.echo(job.id)
    return job
