"""Announce where the service listens: on stderr and stdout, and to clients of the same user."""

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TextIO
from urllib.parse import quote

import structlog

from batchgrad.http import running_services
from batchgrad_service.settings import Settings

_log = structlog.stdlib.get_logger("batchgrad")


def url_of(host: str, port: int) -> str:
    """The service's URL on this machine."""
    address = _connectable(host)
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def print_ready(url: str, settings: Settings, token: str | None) -> None:
    """Print a line on stderr with the login link; with port 0, print JSON on stdout too.

    The link contains the token, so a token from the operator's file is printed to a terminal only,
    and no token to systemd's journal: other users may read a log.
    """
    own_token = settings.token_file is None and not _is_journal(sys.stderr)
    shown = token is not None and (own_token or sys.stderr.isatty())
    link = f"{url}/login#token={quote(token or '', safe='')}" if shown else url
    print_line(sys.stderr, f"batchgrad is ready on {link} (data in {settings.data_dir})")
    if settings.port == 0:
        file = settings.token_path
        ready = {"url": url, "token_file": None if file is None else str(file)}
        print_line(sys.stdout, json.dumps(ready))


def print_line(stream: TextIO, line: str) -> None:
    """Write a line and flush."""
    stream.write(f"{line}\n")
    stream.flush()


def _is_journal(stream: TextIO) -> bool:
    """Whether systemd connected `stream` to its journal (JOURNAL_STREAM, systemd.exec(5))."""
    try:
        file = os.fstat(stream.fileno())
    except OSError:  # not a file
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{file.st_dev}:{file.st_ino}"


@contextmanager
def announced_to_clients(settings: Settings, listening: socket.socket) -> Iterator[None]:
    """Inside the block, clients of the same user find the token's file by the service's URL."""
    if settings.token_path is None:
        yield
        return
    address, port = listening.getsockname()[:2]
    names = (_connectable(settings.host),)
    with ExitStack() as stack:
        try:
            stack.enter_context(
                running_services.announced(_connectable(address), port, settings.token_path, *names)
            )
        except (OSError, RuntimeError) as error:
            _log.warning(
                "clients of this user cannot find the token; set BATCHGRAD_TOKEN",
                reason=str(error),
            )
        yield


def _connectable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
