"""The token that opens the service: read from its file; without a file of the user's, made."""

import secrets
import stat
from pathlib import Path

import structlog

from batchgrad_service.settings import Settings
from batchgrad_workers.system.files import write_whole

SHORTEST = 16
FEWEST_DIFFERENT = 5
"""Sixteen random hexadecimal digits have fewer different ones once in two million."""

_log = structlog.stdlib.get_logger("batchgrad")


def obtain(settings: Settings) -> str | None:
    """The token; None without one. At the first start it is made, in the data directory.

    Raises:
        ValueError: its file cannot be read or written, or holds what protects nothing.
    """
    path = settings.token_path
    if path is None:
        return None
    if settings.token_file is None and not path.exists():
        try:
            write_whole(path, f"{secrets.token_hex(32)}\n".encode(), mode=0o600)
        except OSError as error:
            raise ValueError(f"The token's file {path} cannot be written: {error}.") from error
    token = read(path)
    if path.stat().st_mode & stat.S_IROTH:  # a group may be let in on purpose: Prometheus
        _log.warning(
            "every user of this machine may read the token",
            file=str(path),
            remedy=f"chmod o-r {path}, or put a new token there",
        )
    return token


def read(path: Path) -> str:
    """The token in a file, without surrounding white space.

    Raises:
        ValueError: the file cannot be read, others may change it, or its token is easily guessed.
    """
    try:
        mode = path.stat().st_mode
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"The token's file {path} cannot be read: {error}.") from error
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ValueError(
            f"The token's file {path} may be written by others, who could choose the token: "
            f"`chmod go-w {path}`, and put a new token into it."
        )
    if len(token) < SHORTEST or not token.isascii() or any(c.isspace() for c in token):
        raise ValueError(
            f"The token's file {path} must hold one token of {SHORTEST} or more ASCII characters "
            "without spaces; `openssl rand -hex 32` makes a good one."
        )
    if len(set(token)) < FEWEST_DIFFERENT:
        raise ValueError(
            f"The token in {path} has only {len(set(token))} different characters, which is easily "
            "guessed; `openssl rand -hex 32` makes a good one."
        )
    return token
