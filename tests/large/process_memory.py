"""Watch the memory of processes and of all that they start, and remember the peaks."""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Role = Literal["client", "service", "operation", "engine", "Ray worker", "Ray"]
MB = 10**6
_LOOK_SECONDS = 0.05


@dataclass
class Peak:
    """The most bytes of one process of a role.

    `held_bytes` are a process's own and its shared memory (RssAnon, RssShmem), which the kernel
    cannot take back. `resident_bytes` (VmHWM) also count mapped pages of files, which it can.
    """

    held_bytes: int = 0
    resident_bytes: int = 0

    def __str__(self) -> str:
        return f"held {self.held_bytes / MB:6.0f} MB, resident {self.resident_bytes / MB:6.0f} MB"


@dataclass
class Watched:
    """Peaks by role, since the last `restart`."""

    peaks: dict[Role, Peak] = field(default_factory=lambda: defaultdict(Peak))

    def restart(self) -> None:
        """Forget what was seen; of `resident_bytes` the processes remember their peaks."""
        self.peaks = defaultdict(Peak)


@contextmanager
def watching(*roots: int) -> Iterator[Watched]:
    """Watch these processes and their descendants, until the end of the block."""
    watched, ended = Watched(), threading.Event()

    def watch() -> None:
        while not ended.is_set():
            for pid, command in _family(set(roots)).items():
                _look(watched, pid, command)
            time.sleep(_LOOK_SECONDS)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield watched
    finally:
        ended.set()
        thread.join()


def _look(watched: Watched, pid: int, command: str) -> None:
    status = _status(pid)
    role = _role(command)
    if role is not None and "RssAnon" in status:
        peak = watched.peaks[role]
        peak.held_bytes = max(peak.held_bytes, status["RssAnon"] + status["RssShmem"])
        peak.resident_bytes = max(peak.resident_bytes, status["VmHWM"])


def _family(roots: set[int]) -> dict[int, str]:
    """The command lines of these processes and their descendants."""
    parents, commands = dict[int, int](), dict[int, str]()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text("utf-8", "replace")
                command = (entry / "cmdline").read_text("utf-8", "replace")
            except (FileNotFoundError, ProcessLookupError):  # it has just ended
                continue
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
            commands[int(entry.name)] = command.replace("\0", " ")
    found = set[int]()
    more = roots & parents.keys()
    while more:
        found |= more
        more = {pid for pid, parent in parents.items() if parent in more} - found
    return {pid: commands[pid] for pid in found}


def _status(pid: int) -> dict[str, int]:
    """The process's figures in bytes; {} if it has ended."""
    try:
        text = Path(f"/proc/{pid}/status").read_text("utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return {}
    lines = (line.split() for line in text.splitlines())
    return {line[0].rstrip(":"): int(line[1]) * 1024 for line in lines if line[-1:] == ["kB"]}


def _role(command: str) -> Role | None:
    return next((role for part, role in _ROLES if part in command), None)


_ROLES: tuple[tuple[str, Role], ...] = (
    (" serve ", "service"),
    ("questions.process", "operation"),
    ("batchgrad_engine", "engine"),
    ("ray::GradientWorker", "Ray worker"),
    ("ray", "Ray"),
    ("-m batchgrad ", "client"),
)
