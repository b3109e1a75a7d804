"""Say where the service listens: to whoever started it, and to this user's clients."""

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
    address = _reachable(host)
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def say_ready(url: str, settings: Settings, token: str | None) -> None:
    """A line on stderr, with the link that logs a browser in; with port 0 one on stdout, too.

    A token from a file of the operator's goes to a terminal only, and none to systemd's journal:
    stderr may be a log that others read.
    """
    own = settings.token_file is None and not _is_journal(sys.stderr)
    shown = token is not None and (own or sys.stderr.isatty())
    link = f"{url}/login#token={quote(token or '', safe='')}" if shown else url
    say(sys.stderr, f"batchgrad is ready on {link} (data in {settings.data_dir})")
    if settings.port == 0:
        file = settings.token_path
        said = {"url": url, "token_file": None if file is None else str(file)}
        say(sys.stdout, json.dumps(said))


def say(stream: TextIO, line: str) -> None:
    """One line, at once."""
    stream.write(f"{line}\n")
    stream.flush()


def _is_journal(stream: TextIO) -> bool:
    """Whether it is what systemd connected to its journal: JOURNAL_STREAM, systemd.exec(5)."""
    try:
        file = os.fstat(stream.fileno())
    except OSError:  # no file at all
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{file.st_dev}:{file.st_ino}"


@contextmanager
def found_by_clients(settings: Settings, listening: socket.socket) -> Iterator[None]:
    """Inside the block this user's clients find the token by themselves."""
    if settings.token_path is None:
        yield
        return
    address, port = listening.getsockname()[:2]
    names = (_reachable(settings.host),)
    with ExitStack() as stack:
        try:
            stack.enter_context(
                running_services.announced(_reachable(address), port, settings.token_path, *names)
            )
        except (OSError, RuntimeError) as error:
            _log.warning("clients do not find the token: set BATCHGRAD_TOKEN", reason=str(error))
        yield


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
