"""The command gc: list and remove files that the database does not know."""

from pathlib import Path
from typing import Annotated

import typer

from batchgrad.cli.common import Output, write
from batchgrad.cli.service_package import service_module, service_settings
from batchgrad.display.numbers import counted
from batchgrad.display.terminal import say, table
from batchgrad.errors import Unavailable


def gc(
    *,
    data_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Data directory of a service that does not run."),
    ] = None,
    database_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="SQLAlchemy URL; default: the SQLite file in the data directory."
        ),
    ] = None,
    blob_store: Annotated[
        str | None, typer.Option(metavar="URL", help="Check this store, too.")
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Remove the listed files.")] = False,
    trust_database: Annotated[
        bool,
        typer.Option(
            "--trust-database",
            help="Use a database that did not belong to this directory before.",
        ),
    ] = False,
    output: Output = "table",
) -> None:
    """List files in a data directory that its database does not know.

    --delete removes them. Files that no service created are never removed.

    batchgrad gc --data-dir ./data
    """
    given = {"data_dir": data_dir, "database_url": database_url, "blob_store": blob_store}
    settings = service_settings({k: v for k, v in given.items() if v is not None}, given)
    leftovers = service_module("data_directory.leftovers")
    directory = service_module("data_directory.directory")
    try:
        found, trusted = leftovers.collect(settings, remove=delete, trust_database=trust_database)
    except directory.DataDirectoryError as error:
        raise Unavailable(str(error)) from error
    if output != "table":
        write({"data": [one.as_dict() for one in found], "database_trusted": trusted}, output)
    elif found:
        rows = [(str(one.bytes), str(one.leftover.path), one.leftover.why) for one in found]
        table(("bytes", "path", "why"), rows)
    ours = [one for one in found if one.leftover.ours]
    gone = [one for one in ours if one.gone]
    if len(ours) < len(found):
        say(f"{counted(len(found) - len(ours), 'file')} that no service created: kept.")
    if not trusted:
        say(f"batchgrad: {directory.DATABASE_MISMATCH} If it is right, add --trust-database.")
    if delete:
        say(f"Removed {len(gone)} of {len(ours)}, {sum(one.bytes for one in gone)} bytes.")
    elif ours:
        size = sum(one.bytes for one in ours)
        say(f"Nothing was removed: --delete removes {counted(len(ours), 'file')}, {size} bytes.")
    else:
        say("There is nothing to remove.")
    if len(gone) < len(ours) and delete:
        raise typer.Exit(1)
