"""Commands that run a service, or ask one what it is."""
# ruff: noqa: PLC0415 (commands import what they need when they run, so that help is quick)

import importlib
import json
import os
import shutil
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

import typer

from batchgrad import __version__
from batchgrad.cli.common import Output, connect, properties, say, write
from batchgrad.errors import ConnectionFailed, Timeout, Unavailable, extra


def register_demo_and_serve(app: typer.Typer) -> None:
    """Add the two commands to start with."""
    app.command()(demo)
    app.command()(serve)


def register_version(app: typer.Typer) -> None:
    """Add `version`."""
    app.command()(version)


def demo(
    *,
    workers: Annotated[
        int, typer.Option(min=0, metavar="K", help="Ray workers; 0 trains without Ray.")
    ] = 2,
    threads: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Threads of each worker; else chosen for you."),
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, metavar="N", help="How long to train.")] = 30,
    as_json: Annotated[
        bool, typer.Option("--json", help="End with one line of JSON on stdout.")
    ] = False,
) -> None:
    """Train on the digits data, right here.

    A private service trains over Ray workers, shows how far the shortcuts are from the gradient,
    and leaves nothing behind.

    batchgrad demo --workers 3
    """
    from batchgrad import demo as digits_demo

    result = digits_demo.train(digits_demo.spec(workers, threads, epochs), say)
    typed = digits_demo.command(Path(sys.executable), os.environ.get("PATH", ""), Path.cwd())
    typer.echo(digits_demo.report(result, typed), err=as_json)
    if as_json:
        typer.echo(json.dumps(digits_demo.summary(result)))


def serve(
    *,
    host: Annotated[
        str | None,
        typer.Option(metavar="HOST", help="Where to listen: 127.0.0.1."),
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, metavar="PORT", help="0 takes a free one.")
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Jobs, datasets, checkpoints and the database."),
    ] = None,
    database_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Default: SQLite, there.")
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="A Ray cluster; else a private one on first need."),
    ] = None,
    advertised_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Where a cluster's nodes reach this service; else where it listens."
        ),
    ] = None,
    blob_store: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Nodes fetch datasets from there: s3://bucket/prefix, file:///…"
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Holds the token; else one is made in the data folder."),
    ] = None,
    no_token: Annotated[
        bool, typer.Option("--no-token", help="Let in every process of this machine.")
    ] = False,
    stop_with_stdin: Annotated[bool, typer.Option("--stop-with-stdin", hidden=True)] = False,
    remove_data_dir: Annotated[bool, typer.Option("--remove-data-dir", hidden=True)] = False,
) -> None:
    """Run the service until Ctrl-C or SIGTERM.

    Each flag is also BATCHGRAD_… in the environment.

    batchgrad serve --port 8711 --data-dir ./data
    """
    given = {
        "host": host,
        "port": port,
        "data_dir": data_dir,
        "database_url": database_url,
        "ray_address": ray_address,
        "advertised_url": advertised_url,
        "blob_store": blob_store,
        "token_file": token_file,
        "no_token": no_token or None,
    }
    settings = _settings({key: value for key, value in given.items() if value is not None}, given)
    try:
        code = _service("server").run(settings, stop_when_stdin_closes=stop_with_stdin)
    finally:
        if remove_data_dir and settings.data_dir.exists():
            shutil.rmtree(settings.data_dir)
    raise typer.Exit(code)


def version(ctx: typer.Context, *, output: Output = "table") -> None:
    """Print the client's and the service's version.

    batchgrad version --output json
    """
    answer = None
    with connect(ctx) as client:
        try:
            answer = client.version()
        except (ConnectionFailed, Timeout) as error:
            say(f"batchgrad: {error}")
    known = answer.model_dump() if answer else None
    if output != "table":
        write({"client": __version__, "service": known}, output)
        return
    named = [(f"service {key}", str(value)) for key, value in (known or {}).items()]
    properties([("client", __version__), *named])


def _service(module: str) -> Any:
    """A module of the service package, by name.

    The light client must not depend on the service: importing by name keeps that visible to the
    import rule's test and to type checkers, and says what to install where it is missing.
    """
    try:
        return importlib.import_module(f"batchgrad_service.{module}")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("batchgrad_service."):
            raise  # an incomplete installation, which pip install would not mend
        raise Unavailable(
            f"The service needs {error.name}, which is not installed: {extra('service')}"
        ) from error


def _settings(given: dict[str, Any], flags: Collection[str]) -> Any:
    """The service's settings, or a usage error that names the flag."""
    from pydantic import ValidationError

    from batchgrad.validation import field_errors

    try:
        settings = _service("settings").Settings(**given)
        if settings.token_file is not None:  # one that is missing is a usage error too
            _service("access_token").read(settings.token_file)
    except ValidationError as error:
        told = []
        for one in error.errors():
            location = ("body", *one["loc"])
            [wrong] = field_errors([{**one, "loc": location}], None)
            told.append(_setting(location[-1], flags) + wrong.detail)
        raise typer.BadParameter(" ".join(told)) from error
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return settings


def _setting(name: str | int, flags: Collection[str]) -> str:
    """A setting as whoever runs the service gave it; "" for what is about several."""
    if name == "body":
        return ""
    plain = str(name).lower().removeprefix("batchgrad_")
    variable = f"BATCHGRAD_{plain.upper()}"
    return f"--{plain.replace('_', '-')} ({variable}): " if plain in flags else f"{variable}: "
