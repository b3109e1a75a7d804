"""Services that run as this user on this machine: where each listens, and its token's file.

A service holds a lock on its entry for as long as it runs, so an entry that is not locked is what
a killed service left behind: whoever listens on its port now must not be sent the token.
"""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunningService:
    """Where to reach a service ("localhost" may be somebody else's other address); its token."""

    address: str
    token: str


def find(host: str, port: int) -> RunningService | None:
    """This user's running service at a host; None where there is none."""
    try:
        entries = [entry for entry in _folder().iterdir() if entry.suffix == ".json"]
    except (OSError, RuntimeError):  # no service ever ran here, or there is no home
        return None
    prefix = f"{socket.gethostname()}-{port}-"
    for entry in entries:
        if not entry.name.startswith(prefix):
            continue
        with suppress(
            OSError, ValueError, KeyError, TypeError
        ):  # gone meanwhile, or not ours to read
            found = _read(entry, host)
            if found is not None:
                return found
    return None


@contextmanager
def announced(address: str, port: int, token_file: Path, *names: str) -> Iterator[None]:
    """Let this user's clients find the service that listens there, inside the block.

    `names` are other hosts in URLs that mean it.

    Raises:
        OSError, RuntimeError: the entry cannot be written; RuntimeError where there is no home.
    """
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    name = f"{socket.gethostname()}-{port}-{address.replace(':', '_')}.json"
    hosts = [address, *names, *(["localhost"] if address in {"127.0.0.1", "::1"} else [])]
    entry_data = {"address": address, "hosts": hosts, "token_file": str(token_file)}
    with _alone(folder):
        _remove_left(folder)
        temporary = folder / f"{name}.{os.getpid()}"
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        entry = os.fdopen(descriptor, "w", encoding="utf-8")
        fcntl.flock(entry, fcntl.LOCK_EX)
        json.dump(entry_data, entry)
        entry.flush()
        temporary.rename(folder / name)
    with entry:
        try:
            yield
        finally:
            (folder / name).unlink(missing_ok=True)


def _folder() -> Path:
    return Path.home() / ".local/state/batchgrad/services"


def _read(entry: Path, host: str) -> RunningService | None:
    """What a running service of this user at `host` wrote; None from any other."""
    with entry.open(encoding="utf-8") as file:
        if os.fstat(file.fileno()).st_uid != os.getuid() or _unlocked(file.fileno()):
            return None
        entry_data = json.load(file)
    if host not in entry_data["hosts"]:
        return None
    token = Path(entry_data["token_file"]).read_text(encoding="utf-8").strip()
    return RunningService(entry_data["address"], token)


def _unlocked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else changes the folder inside the block."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_left(folder: Path) -> None:
    """Remove what killed services of this machine left behind."""
    for entry in folder.glob(f"{socket.gethostname()}-*"):
        with suppress(OSError), entry.open() as file:
            if _unlocked(file.fileno()):
                entry.unlink()
