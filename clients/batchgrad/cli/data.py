"""The commands datasets push, list, show, budget, delete, and gradients."""
# ruff: noqa: PLC0415 (commands import what they need when they run, so that help is quick)

from typing import Annotated

import typer

from batchgrad import timeouts
from batchgrad.cli import push
from batchgrad.cli.common import GradientsHelp, Output, Timeout, connect, write

datasets = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Datasets of the service: push, list, show, budget, delete.",
)
Name = Annotated[str, typer.Argument(metavar="NAME", help="The dataset's name.")]


def register(app: typer.Typer) -> None:
    """Add `gradients`."""
    app.command(cls=GradientsHelp)(gradients)


push.register(datasets)


@datasets.command("list")
def list_datasets(ctx: typer.Context, *, output: Output = "table") -> None:
    """List the datasets.

    batchgrad datasets list --output json
    """
    from batchgrad.display import jobs

    with connect(ctx) as client:
        found = list(client.datasets())
    jobs.show_datasets(found) if output == "table" else write(found, output)


@datasets.command()
def show(ctx: typer.Context, name: Name, *, output: Output = "table") -> None:
    """Show a dataset, and what was found in each column of its table.

    batchgrad datasets show customers
    """
    from batchgrad.display.data.dataset_table import show_table

    with connect(ctx) as client:
        found = client.dataset(name)
    show_table(found) if output == "table" else write(found, output)


@datasets.command()
def budget(
    ctx: typer.Context,
    name: Name,
    *,
    epsilon: Annotated[
        float | None,
        typer.Option(metavar="NUMBER", help="The most ε that private jobs may spend on it."),
    ] = None,
    none: Annotated[bool, typer.Option("--none", help="Remove the budget.")] = False,
    output: Output = "table",
) -> None:
    """Limit the ε that private jobs may spend on a dataset, all together.

    batchgrad datasets budget customers --epsilon 8
    """
    from batchgrad.display.data.dataset_table import show_table

    if none == (epsilon is not None):
        raise typer.BadParameter("give either --epsilon NUMBER or --none.")
    with connect(ctx) as client:
        found = client.set_privacy_budget(name, epsilon)
    show_table(found) if output == "table" else write(found, output)


@datasets.command()
def delete(ctx: typer.Context, name: Name, *, output: Output = "table") -> None:
    """Delete a dataset that no running job uses.

    batchgrad datasets delete digits
    """
    with connect(ctx) as client:
        client.delete_dataset(name)
    if output != "table":
        write({"name": name, "deleted": True}, output)


def gradients(
    ctx: typer.Context,
    request: Annotated[
        str, typer.Argument(metavar="REQUEST", help='YAML or JSON; "-" reads standard input.')
    ],
    *,
    timeout: Timeout = timeouts.LONG_REQUEST,
    output: Output = "table",
) -> None:
    """Compute the gradient of one minibatch.

    Prints the mean gradient, and how far each shortcut is from it.

    batchgrad gradients minibatch.yaml --output json
    """
    from batchgrad.display import jobs
    from batchgrad.parsing.spec_files import load_gradients, naming_lines

    loaded = load_gradients(request)
    with connect(ctx) as client, naming_lines(request):
        answer = client.gradients(loaded, timeout=timeout)
    jobs.show_gradients(answer) if output == "table" else write(answer, output)
