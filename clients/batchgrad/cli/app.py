"""The command line: all commands, and an exit code and one message for each error."""

import os
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from batchgrad.cli import actions, data, examples, jobs, predictions, service
from batchgrad.cli.training import compare, spec, submit, sweep
from batchgrad.display import streams
from batchgrad.display.docstrings import restore
from batchgrad.errors import (
    BatchgradError,
    InvalidArgument,
    InvalidRequest,
    InvalidSpec,
    JobCancelled,
    JobFailed,
    NotFinished,
    NotFound,
)
from batchgrad.variables import refuse_unknown
from batchgrad.version import __version__

HELP = """Train by the exact mean of per-example gradients, and measure how far shortcuts are off.

\b
  batchgrad demo                             train a small network, without a service
  batchgrad serve                            run the service
  batchgrad datasets push digits digits.npz  store a dataset
  batchgrad spec digits --to digits.yaml     write a first spec for it
  batchgrad submit digits.yaml --watch       train a job and follow it
  batchgrad run --private digits.yaml        the same, without a service
  batchgrad sweep digits.yaml --over seed=1,2,3  train a job for each value
  batchgrad compare digits.yaml              train by each shortcut too, and compare

\b
BATCHGRAD_URL is the service's address (default http://127.0.0.1:8711), BATCHGRAD_TOKEN its token.
For a service that you started on this machine the token is found without it.
Exit codes: 0 success, 1 error, 2 usage, 100 job failed, 101 not finished, 102 not found,
103 cancelled.
"""


class Commands(TyperGroup):
    """A group of commands that writes errors to stderr as messages, each with its exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except BatchgradError as error:
            from batchgrad.cli.errors import message  # noqa: PLC0415 (help must stay quick)

            typer.echo(f"batchgrad: {message(error)}", err=True)
            raise typer.Exit(exit_code(error)) from error
        except BrokenPipeError:
            raise  # the reader of our output has closed it; typer ends without a message
        except OSError as error:  # a file that cannot be read or written
            typer.echo(f"batchgrad: {error}", err=True)
            raise typer.Exit(1) from error


def exit_code(error: BatchgradError) -> int:
    """The exit code of an error."""
    match error:
        case JobFailed():
            return 100
        case NotFinished():
            return 101
        case NotFound():
            return 102
        case JobCancelled():
            return 103
        case InvalidSpec() | InvalidRequest() | InvalidArgument():
            return 2
    return 1


app = typer.Typer(
    cls=Commands,
    help=HELP,
    add_completion=False,
    rich_markup_mode=None,  # plain help: importing rich takes half of the time that help may take
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True, help=HELP)
def root(
    ctx: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Without a command: print the help."""
    refuse_unknown(os.environ)
    if version:
        typer.echo(f"batchgrad {__version__}")
    elif ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


for register in (
    service.register_demo_and_serve,
    submit.register,
    jobs.register,
    actions.register,
):
    register(app)
compare.register(app)
sweep.register(app)
spec.register(app)
examples.register(app)
predictions.register(app)
app.add_typer(data.datasets, name="datasets")
data.register(app)
service.register_questions(app)
for command in (*app.registered_commands, *data.datasets.registered_commands):
    restore(command.callback)


def main() -> None:
    """The `batchgrad` command."""
    streams.prepare()
    app(prog_name="batchgrad")
