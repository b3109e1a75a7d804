"""The service of a command that trains, running or private, and the data stored there."""
# ruff: noqa: PLC0415 (commands import what they need when they run, so that help is quick)

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from batchgrad.cli.common import connect
from batchgrad.display.terminal import say

if TYPE_CHECKING:
    from batchgrad.client import Client

Private = Annotated[
    bool,
    typer.Option(
        "--private", help="Use a private service, which is removed with its data afterwards."
    ),
]
Data = Annotated[
    list[str] | None,
    typer.Option(
        "--data", metavar="NAME=FILE", help="First store this file as a dataset; repeatable."
    ),
]
WaitTimeout = Annotated[
    float | None,
    typer.Option(min=0, metavar="SECONDS", help="Stop waiting, with exit code 101, after this."),
]


@contextmanager
def running_or_private(ctx: typer.Context, *, private: bool) -> "Iterator[Client]":
    """A client of the running service, or of a private one that is gone after the block."""
    if not private:
        with connect(ctx) as client:
            yield client
        return
    from batchgrad.user_machine.private_service import private_service

    say("Starting a private service …")
    with ending_with_the_service(), private_service() as client:
        yield client


@contextmanager
def ending_with_the_service() -> "Iterator[None]":
    """Say of a job that had no time to end that it is gone, since its private service is."""
    from batchgrad.errors import NotFinished

    try:
        yield
    except NotFinished as error:
        job = error.job
        raise NotFinished(
            f"The time was over while job {job.id} was {job.status}, at step {job.step} of "
            f"{job.steps_planned}; its private service is gone.",
            job,
        ) from error


def needs_private(ctx: typer.Context) -> bool:
    """Whether no service is named, and none runs on this machine."""
    if "BATCHGRAD_URL" in os.environ or ctx.find_root().obj:
        return False
    with connect(ctx) as client:
        return not client.ready()


def named_files(data: Sequence[str] | None) -> dict[str, Path]:
    """The files of --data by their datasets' names."""
    found = {}
    for text in data or ():
        name, equals, file = text.partition("=")
        if not (name and equals and Path(file).is_file()):
            raise typer.BadParameter(
                f"got {text!r}; expected NAME=FILE, the name of a dataset and an existing file.",
                param_hint="--data",
            )
        found[name] = Path(file)
    return found


def store_data(client: "Client", files: dict[str, Path], dataset: str) -> None:
    """Store `files`, and `dataset` if it is built in; raises InvalidSpec if it is missing then."""
    from batchgrad.user_machine import built_in

    for name, file in files.items():
        client.put_dataset(name, file)
        say(f"Stored {file} as dataset {name}.")
    built_in.store_if_missing(client, dataset, say)
