"""The commands demo, serve, ready and version."""
# ruff: noqa: PLC0415 (commands import what they need when they run, so that help is quick)

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from batchgrad.cli.common import Output, connect, write
from batchgrad.cli.errors import message
from batchgrad.cli.gc import gc
from batchgrad.cli.service_package import service_module, service_settings
from batchgrad.cli.training.service import WaitTimeout, ending_with_the_service
from batchgrad.display.terminal import properties, say
from batchgrad.errors import BatchgradError
from batchgrad.timeouts import Deadline
from batchgrad.version import __version__

READY_POLL_SECONDS = 0.2


def register_demo_and_serve(app: typer.Typer) -> None:
    """Add `demo`, `serve` and `gc`."""
    app.command()(demo)
    app.command()(serve)
    app.command()(gc)


def register_questions(app: typer.Typer) -> None:
    """Add `ready` and `version`."""
    app.command()(ready)
    app.command()(version)


def demo(
    *,
    workers: Annotated[
        int, typer.Option(min=0, metavar="K", help="Number of Ray workers; 0 trains without Ray.")
    ] = 2,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Threads of each worker; default: chosen by measuring."
        ),
    ] = None,
    epochs: Annotated[
        int, typer.Option(min=1, metavar="N", help="Passes over the training examples.")
    ] = 30,
    timeout: WaitTimeout = None,
    output: Output = "table",
) -> None:
    """Train a small network on handwritten digits.

    Starts a private service, trains over Ray workers, prints how far the shortcuts are from the
    mean gradient, and removes the service and its data.

    batchgrad demo --workers 3
    """
    from batchgrad.user_machine import demo as digits_demo

    with ending_with_the_service():
        spec = digits_demo.spec(workers, threads, epochs)
        result = digits_demo.train(spec, say, timeout=timeout)
    typed = digits_demo.command(Path(sys.executable), os.environ.get("PATH", ""), Path.cwd())
    typer.echo(digits_demo.report(result, typed), err=output != "table")
    if output != "table":
        write(digits_demo.summary(result), output)


def serve(
    *,
    host: Annotated[
        str | None,
        typer.Option(metavar="HOST", help="Address to listen on; default 127.0.0.1."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            metavar="PORT",
            help="Port to listen on; default 8711, 0 takes a free one.",
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Directory of jobs, datasets, checkpoints and the database."
        ),
    ] = None,
    database_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="SQLAlchemy URL; default: a SQLite file in the data directory."
        ),
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Head of a Ray cluster; default: a private cluster, started when needed.",
        ),
    ] = None,
    advertised_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="URL of this service for a cluster's nodes; default where it listens.",
        ),
    ] = None,
    blob_store: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Store that nodes fetch datasets from: s3://bucket/prefix, file:///…",
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File with the token; default: `token` in the data directory, created.",
        ),
    ] = None,
    no_token: Annotated[
        bool,
        typer.Option("--no-token", help="Serve every process of this machine without a token."),
    ] = False,
    allowed_hosts: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES", help="Host names of the service behind a proxy: a.example,b.example"
        ),
    ] = None,
    torch_modules: Annotated[
        str | None,
        typer.Option(
            metavar="PACKAGES",
            help="Packages whose functions may build PyTorch tasks: mypackage,other.models",
        ),
    ] = None,
    torch_path: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder with modules for PyTorch jobs, on this machine."),
    ] = None,
    allow_uploaded_code: Annotated[
        bool,
        typer.Option(
            "--allow-uploaded-code",
            help="Run code that jobs bring along: who submits has a shell on the nodes.",
        ),
    ] = False,
    stop_with_stdin: Annotated[bool, typer.Option("--stop-with-stdin", hidden=True)] = False,
    remove_data_dir: Annotated[bool, typer.Option("--remove-data-dir", hidden=True)] = False,
) -> None:
    """Run the service until Ctrl-C or SIGTERM.

    Each flag is also an environment variable: --data-dir is BATCHGRAD_DATA_DIR. All settings with
    their defaults: docs/reference/settings.md.

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
        "allowed_hosts": allowed_hosts,
        "torch_modules": torch_modules,
        "torch_path": torch_path,
        "allow_uploaded_code": allow_uploaded_code or None,
    }
    settings = service_settings(
        {key: value for key, value in given.items() if value is not None}, given
    )
    raise typer.Exit(
        service_module("server").run(
            settings, stop_when_stdin_closes=stop_with_stdin, remove_data_dir=remove_data_dir
        )
    )


def ready(
    ctx: typer.Context,
    *,
    timeout: Annotated[
        float,
        typer.Option(min=0, metavar="SECONDS", help="Time in which the service must be ready."),
    ] = 60.0,
    output: Output = "table",
) -> None:
    """Wait until the service takes jobs; exit with 1 if it does not in time.

    batchgrad serve & batchgrad ready --timeout 60 && batchgrad submit digits.yaml
    """
    deadline = Deadline(timeout)
    with connect(ctx) as client:
        while not (answered := client.ready()) and deadline.left():
            time.sleep(READY_POLL_SECONDS)
        url = client.url
    if output != "table":
        write({"url": url, "ready": answered}, output)
    elif answered:
        typer.echo("ready")
    if not answered:
        say(
            f"batchgrad: No service is ready at {url} after {timeout:g} s. Start one with "
            "`batchgrad serve` and read its log, or set BATCHGRAD_URL."
        )
        raise typer.Exit(1)


def version(ctx: typer.Context, *, output: Output = "table") -> None:
    """Print the versions of client and service.

    Exits with 1 if no service answers.

    batchgrad version --output json
    """
    answer = None
    with connect(ctx) as client:
        try:
            answer = client.version()
        except BatchgradError as error:
            say(f"batchgrad: {message(error)}")
    known = answer.model_dump() if answer else None
    if output != "table":
        write({"client": __version__, "service": known}, output)
    else:
        named = [(f"service {key}", str(value)) for key, value in (known or {}).items()]
        properties([("client", __version__), *named])
    if answer is None:
        raise typer.Exit(1)
