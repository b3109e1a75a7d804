"""The command compare: train by the mean gradient and by shortcuts, and print the results."""
# ruff: noqa: PLC0415 (commands import what they need when they run, so that help is quick)

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from batchgrad.cli.common import Output, write
from batchgrad.cli.training.service import (
    Data,
    Private,
    WaitTimeout,
    named_files,
    needs_private,
    running_or_private,
    store_data,
)
from batchgrad.cli.training.submit import Overrides, SpecFile
from batchgrad.display.numbers import number, percent
from batchgrad.display.terminal import say, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batchgrad.contract import Job
    from batchgrad.contract.model import ShortcutName
    from batchgrad.user_machine.compare import Variant


def register(app: typer.Typer) -> None:
    """Add `compare`."""
    app.command()(compare)


def compare(
    ctx: typer.Context,
    spec: SpecFile,
    *,
    shortcuts: Annotated[
        list[str] | None,
        typer.Option(
            "--shortcut",
            metavar="SHORTCUT",
            help="Compare with this shortcut; repeatable. Default averaged_error and mean_example, "
            "and mean_of_means when weights differ.",
        ),
    ] = None,
    override: Overrides = None,
    private: Private = False,
    data: Data = None,
    timeout: WaitTimeout = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Also draw the losses into this file, such as losses.png."
        ),
    ] = None,
    output: Output = "table",
) -> None:
    """Train a job by the mean gradient, then by each shortcut, and compare.

    All jobs have the same initial parameters and the same order of examples, and run one after
    the other; `update` in SPEC is ignored. A shortcut that diverges is a result, not an error.
    The loss over all training examples and the validation figures are of the parameters that each
    job keeps (`keep` in SPEC).

    The jobs run on the service at BATCHGRAD_URL. Without it, and without a service on this
    machine, they run in a private service that is removed afterwards. The datasets digits,
    digits_images, diabetes and breast_cancer come with scikit-learn and are stored if they are
    missing; store any other one first (batchgrad datasets push).

    batchgrad compare examples/mlp.yaml --plot losses.png
    """
    from batchgrad.display import plots
    from batchgrad.parsing.spec_files import load_job, naming_lines
    from batchgrad.user_machine import compare as comparing

    selected = _shortcuts(shortcuts or [])
    if plot is not None:
        try:
            plots.check_file(plot)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--plot") from error
    files = named_files(data)
    loaded = load_job(spec, override or ())
    displays = _Displays()
    private = private or needs_private(ctx)
    try:
        with (
            running_or_private(ctx, private=private) as client,
            naming_lines(spec, override or ()),
        ):
            store_data(client, files, loaded.dataset)
            training = comparing.compare(
                client, loaded, selected, show=displays.show, timeout=timeout
            )
            done = _train(training, displays, lasting=not private)
    except KeyboardInterrupt:
        if displays.job is None:
            say("\nInterrupted; no job was submitted.")
        raise
    _show(done, lasting=not private, err=output != "table")
    if plot is not None:
        plots.to_file(plot, {variant.name: variant.curve for variant in done}, loaded.name)
        say(f"Wrote the plot of the losses to {plot}.")
    if output != "table":
        write(comparing.summary(done), output)


def _shortcuts(given: list[str]) -> "list[ShortcutName]":
    from batchgrad.contract.model import SHORTCUT_NAMES

    names = [name for text in given for name in text.split(",")]
    unknown = sorted(set(names) - set(SHORTCUT_NAMES))
    if unknown:
        raise typer.BadParameter(
            f"{', '.join(unknown)}: expected some of {', '.join(SHORTCUT_NAMES)}.",
            param_hint="--shortcut",
        )
    return [name for name in SHORTCUT_NAMES if name in names]


def _train(
    training: "Iterator[Variant]", displays: "_Displays", *, lasting: bool
) -> "list[Variant]":
    """Train each variant, with progress on stderr."""
    from batchgrad.errors import JobCancelled

    done: list[Variant] = []
    with displays:
        try:
            for variant in training:
                if not done:  # those of the other variants repeat these
                    for warning in variant.job.warnings:
                        say(f"warning: {warning}")
                done.append(variant)
                say(_ended(variant))
        except KeyboardInterrupt as interrupt:
            job = displays.job
            if job is None:
                raise
            if lasting:
                say(f"\nStopped following; job {job.id} goes on.")
                say("The remaining shortcuts are not submitted.")
                say(f"Stop it: batchgrad cancel {job.id}")
                raise typer.Exit(101) from interrupt
            raise JobCancelled("Interrupted; the private service is gone.", job) from interrupt
    return done


class _Displays:
    """A live display for each job in turn; its last state stays on the screen."""

    def __init__(self) -> None:
        self.job: Job | None = None
        self._display: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def show(self, job: "Job") -> None:
        """Show the current state of a job."""
        from batchgrad.contract import TERMINAL
        from batchgrad.display.live.job import JobDisplay

        if self.job is None or self.job.id != job.id:
            self._close()
            self._display = JobDisplay().__enter__()
        self.job = job
        self._display.update(job)
        if job.status in TERMINAL:
            self._close()

    def _close(self) -> None:
        if self._display is not None:
            self._display.__exit__(None, None, None)
            self._display = None


def _ended(variant: "Variant") -> str:
    if variant.diverged:
        return f"{variant.name} diverged at step {variant.job.step}."
    loss = number(variant.training_loss)
    return f"{variant.name} trained {variant.job.step} steps; loss over all examples: {loss}."


def _show(variants: "list[Variant]", *, lasting: bool, err: bool) -> None:
    """Print the table and the plot."""
    import sys

    from batchgrad.display import plots

    stream = sys.stderr if err else sys.stdout
    reference = variants[0].training_loss
    rows = [
        [
            variant.name,
            str(variant.job.step),
            "diverged" if variant.diverged else number(variant.training_loss),
            _ratio(variant.training_loss, reference),
            number(variant.last_epoch_loss),
            number(variant.validation_loss),
            percent(variant.validation_accuracy),
            *([variant.job.id] if lasting else []),
        ]
        for variant in variants
    ]
    columns = ["trained by", "steps", "loss", "× mean_gradient", "last epoch's loss"]
    columns += ["validation loss", "validation accuracy", *(["job"] if lasting else [])]
    table(columns, rows, err=err)
    say("loss: over all training examples; last epoch's: mean over its steps, as they came")
    curves: dict[str, plots.Curve] = {variant.name: variant.curve for variant in variants}
    typer.echo(plots.on_terminal(curves, colours=stream.isatty()), err=err)


def _ratio(loss: float | None, reference: float | None) -> str:
    """The loss in multiples of the mean gradient's."""
    if loss is None or reference is None or reference <= 0 or loss < 0:
        return "–"
    return f"{loss / reference:.3g}"
