"""The service's access token: read from a file, or created at the first start."""

import secrets
import stat
from pathlib import Path

import structlog

from batchgrad_service.settings import Settings
from batchgrad_workers.system.files import write_atomically

MIN_LENGTH = 16
MIN_DIFFERENT = 5
"""Of 16 random hexadecimal digits, fewer than 5 are different once in two million cases."""

_log = structlog.stdlib.get_logger("batchgrad")


def obtain(settings: Settings) -> str | None:
    """The token; None with `no_token`. The first start creates one in the data directory.

    Raises:
        ValueError: the file cannot be read or written, or its token is not safe.
    """
    path = settings.token_path
    if path is None:
        return None
    if settings.token_file is None and not path.exists():
        try:
            write_atomically(path, f"{secrets.token_hex(32)}\n".encode(), mode=0o600)
        except OSError as error:
            raise ValueError(f"The token file {path} cannot be written: {error}.") from error
    token = read(path)
    if path.stat().st_mode & stat.S_IROTH:  # a group may have access on purpose: Prometheus
        _log.warning(
            "every user of this machine can read the token",
            file=str(path),
            remedy=f"run `chmod o-r {path}` and write a new token to it",
        )
    return token


def read(path: Path) -> str:
    """The token in a file, without surrounding white space.

    Raises:
        ValueError: the file cannot be read, others can write it, or its token is easy to guess.
    """
    try:
        mode = path.stat().st_mode
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"The token file {path} cannot be read: {error}.") from error
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ValueError(
            f"Other users can write the token file {path} and so choose the token: run "
            f"`chmod go-w {path}` and write a new token to it."
        )
    if len(token) < MIN_LENGTH or not token.isascii() or any(c.isspace() for c in token):
        raise ValueError(
            f"The token file {path} must have one token of {MIN_LENGTH} or more ASCII characters "
            "without spaces: `openssl rand -hex 32` makes a good one."
        )
    if len(set(token)) < MIN_DIFFERENT:
        raise ValueError(
            f"The token in {path} has only {len(set(token))} different characters, which is easy "
            "to guess: `openssl rand -hex 32` makes a good one."
        )
    return token
