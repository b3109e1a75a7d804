"""Running services of this user on this machine: the address and the token's file of each.

A service locks its entry while it runs. An entry without a lock is of a service that was killed:
another process may listen on its port, which must not get the token.
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
    """The address of a service, never "localhost", which has two addresses; and its token."""

    address: str
    token: str


def find(host: str, port: int) -> RunningService | None:
    """This user's running service at a host and port; None without one."""
    try:
        entries = [entry for entry in _folder().iterdir() if entry.suffix == ".json"]
    except (OSError, RuntimeError):  # no service ran here before, or there is no home
        return None
    prefix = f"{socket.gethostname()}-{port}-"
    for entry in entries:
        if not entry.name.startswith(prefix):
            continue
        with suppress(
            OSError, ValueError, KeyError, TypeError
        ):  # removed meanwhile, or not readable for us
            found = _read(entry, host)
            if found is not None:
                return found
    return None


@contextmanager
def announced(address: str, port: int, token_file: Path, *names: str) -> Iterator[None]:
    """Inside the block, this user's clients find the service at this address.

    `names` are other host names of the service in URLs.

    Raises:
        OSError: the entry cannot be written.
        RuntimeError: the user has no home directory.
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
    """The entry of a running service of this user at `host`; None for any other entry."""
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
    """No other process changes the folder inside the block."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_left(folder: Path) -> None:
    """Remove the entries of killed services of this machine."""
    for entry in folder.glob(f"{socket.gethostname()}-*"):
        with suppress(OSError), entry.open() as file:
            if _unlocked(file.fileno()):
                entry.unlink()
