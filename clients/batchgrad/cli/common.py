"""Options, the connection to the service and the output that commands share."""
# ruff: noqa: PLC0415 (commands import what they need when they run, so that help is quick)

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

import typer
from typer.core import TyperCommand

from batchgrad.display.streams import takes_unicode

if TYPE_CHECKING:
    from pydantic import BaseModel

    from batchgrad.client import Client

Output = Annotated[
    Literal["table", "json", "yaml"],
    typer.Option("--output", "-o", help="Format of the result on stdout."),
]
Timeout = Annotated[
    float,
    typer.Option(min=0, metavar="SECONDS", help="Time to wait for the answer."),
]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.", show_default=False)]


class WithReference(TyperCommand):
    """A command whose help ends with the keys of its file, read from the contract."""

    reference: str
    """The function of `batchgrad.display.reference` that describes them."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the reference at the end of the help."""
        super().format_epilog(ctx, formatter)
        from batchgrad.display import reference

        formatter.write(f"\n{getattr(reference, self.reference)()}")


class JobSpecHelp(WithReference):
    """A command that takes a job's spec."""

    reference = "job_spec"


class GradientsHelp(WithReference):
    """The command that takes a minibatch."""

    reference = "gradients_request"


class StepsHelp(WithReference):
    """The command that shows figures of steps."""

    reference = "step_figures"


def connect(ctx: typer.Context) -> "Client":
    """A client for BATCHGRAD_URL, or the one that `app(obj=...)` injects."""
    factory: Callable[[], Client] | None = ctx.find_root().obj
    if factory is None:
        from batchgrad import client

        return client.Client()
    return factory()


Result = Union["BaseModel", Mapping[str, Any]]


def write(value: Result | Sequence[Result], output: str) -> None:
    """A result as one JSON or YAML document."""
    plain: Any = [_plain(one) for one in value] if isinstance(value, Sequence) else _plain(value)
    if output == "json":
        import json

        typer.echo(json.dumps(plain, ensure_ascii=not takes_unicode()))
    else:
        import yaml

        text = yaml.safe_dump(
            plain, sort_keys=False, allow_unicode=takes_unicode(), explicit_start=True
        )
        typer.echo(text, nl=False)


def _plain(value: Result) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else value.model_dump(mode="json")
