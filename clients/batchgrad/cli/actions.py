"""The commands cancel, pause, resume, delete and download."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from batchgrad import timeouts
from batchgrad.cli.common import JobId, Output, Timeout, connect, write
from batchgrad.display.numbers import best
from batchgrad.display.terminal import say
from batchgrad.errors import Conflict
from batchgrad.files import parameters_format

if TYPE_CHECKING:
    from batchgrad.contract import Job


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (cancel, pause, resume, delete, download):
        app.command()(command)


def cancel(ctx: typer.Context, job: JobId, *, output: Output = "table") -> None:
    """Cancel a job at its next step.

    Cancelling it a second time changes nothing.

    batchgrad cancel job_2x…
    """
    with connect(ctx) as client:
        try:
            changed = client.cancel(job)
        except Conflict as error:
            if error.problem.code != "job_cancelled":
                raise
            changed = client.job(job)
            say(f"Job {job} was already cancelled; nothing has changed.")
        _show_status(changed, output)


def pause(ctx: typer.Context, job: JobId, *, output: Output = "table") -> None:
    """Pause a job at its next step.

    batchgrad pause job_2x…
    """
    with connect(ctx) as client:
        _show_status(client.pause(job), output)
    say(f"Next: batchgrad resume {job}")


def resume(
    ctx: typer.Context,
    job: JobId,
    *,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Train a job that has ended for N more epochs."),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Train a job that has ended for N more steps."),
    ] = None,
    output: Output = "table",
) -> None:
    """Resume a paused job, or train on a job that has ended.

    A paused job's result has the same bits as without the pause. A job that has ended goes on from
    its newest checkpoint, as the same job.

    batchgrad resume job_2x… --epochs 20
    """
    if epochs is not None and steps is not None:
        raise typer.BadParameter("give either --epochs or --steps.", param_hint="--steps")
    with connect(ctx) as client:
        resumed = client.resume(job, more_epochs=epochs, more_steps=steps)
        _show_status(resumed, output)
    if epochs or steps:
        for warning in resumed.warnings:
            say(f"warning: {warning}")
    say(f"Next: batchgrad wait {job}")


def delete(ctx: typer.Context, job: JobId, *, output: Output = "table") -> None:
    """Delete a job that has ended, with its steps and checkpoints.

    batchgrad delete job_2x…
    """
    with connect(ctx) as client:
        client.delete(job)
    if output != "table":
        write({"id": job, "deleted": True}, output)


def _show_status(job: "Job", output: str) -> None:
    typer.echo(job.status) if output == "table" else write(job, output)


def download(
    ctx: typer.Context,
    job: JobId,
    *,
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="File to write; default JOB.safetensors in this directory."
        ),
    ] = None,
    format: Annotated[  # noqa: A002 (the flag's name)
        Literal["safetensors", "npz", "onnx", "torch"] | None,
        typer.Option(
            help="Format of the file; default from its name, else safetensors. onnx and torch "
            "(torch.export, .pt2) hold the whole network."
        ),
    ] = None,
    which: Annotated[
        Literal["best", "last"] | None,
        typer.Option(help="The best or the last parameters; default: what the spec's `keep` says."),
    ] = None,
    step: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="The parameters after this step."),
    ] = None,
    fold: Annotated[
        bool,
        typer.Option(
            "--fold",
            help="Fold the standardization of inputs into the first layer, so that the network "
            "takes raw inputs.",
        ),
    ] = False,
    precision: Annotated[
        Literal["float32", "float64"] | None,
        typer.Option(
            help="Precision of the file; default the job's. --fold needs float64 where means are "
            "many deviations from 0."
        ),
    ] = None,
    timeout: Timeout = timeouts.LONG_REQUEST,
    output: Output = "table",
) -> None:
    """Write a job's parameters to a file.

    The names are PyTorch's: torch.nn.Sequential loads them.

    batchgrad download job_2x… --to digits.safetensors --fold
    """
    suffix = {"torch": "pt2"}.get(format or "", format or "safetensors")
    target = to or Path(f"{job}.{suffix}")
    with connect(ctx) as client:
        found = client.job(job)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            written = client.download(
                job,
                target,
                format=format,
                which=which,
                step=step,
                fold=fold,
                precision=precision,
                timeout=timeout,
            )
        for one in warned:
            say(f"batchgrad: {one.message}")
    kind = format or parameters_format(target)
    if output == "table":
        typer.echo(str(written))
    else:
        write({"path": str(written), "format": kind}, output)
    say(f"Written as {kind}.")
    if which != "last" and step is None and found.best is not None:
        say(f"These are {best(found.best)}; --which last gives the last ones.")
    if found.spec.standardize:
        say(_about_inputs(kind, folded=fold))


def _about_inputs(kind: str, *, folded: bool) -> str:
    """How to prepare inputs for a network that was trained on standardized ones."""
    if kind in {"onnx", "torch"}:
        return (
            "The network standardizes arrays itself: give it raw inputs, or a table's rows as "
            "batchgrad.read_card(SAFETENSORS).encode(rows) encodes them."
        )
    if folded:
        return (
            "The standardization of inputs is in the first layer: give the network raw inputs, or "
            "a table's rows as batchgrad.read_card(FILE).encode(rows) encodes them."
        )
    place = (
        "standardize.mean and standardize.deviation in the file."
        if kind == "npz"
        else "in the file's metadata, JSON under the key batchgrad:\n"
        "  json.loads(safetensors.safe_open(FILE, 'numpy').metadata()['batchgrad'])"
        "['standardization']"
    )
    return (
        "The network was trained on standardized inputs: give it (x - mean) / deviation, or "
        f"download with --fold.\nMean and deviation are {place}\n"
        "A table's rows are encoded and standardized by batchgrad.read_card(FILE).encode(rows)."
    )
