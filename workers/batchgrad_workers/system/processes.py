"""What /proc knows about processes: who belongs to a session, and how to end them all.

Everything that a keeper starts stays in the keeper's session (Ray's workers make process groups
of their own, but no sessions), so the session finds what a killed keeper left.
"""

import os
import signal
import time
from pathlib import Path

PROC = Path("/proc")
POLL_SECONDS = 0.05


def session_members(session: int, *, named: str | None = None) -> list[int]:
    """Living processes of a session, or those of them with that name; zombies left out."""
    return [
        int(entry.name)
        for entry in PROC.iterdir()
        if entry.name.isdigit()
        and (found := _living(entry)) is not None
        and found[0] == session
        and named in {None, found[1]}
    ]


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    return _living(PROC / str(pid)) is not None


def session_uses(session: int, folder: Path) -> bool:
    """Whether a process of the session was started with, or has open, something in `folder`.

    Numbers of processes come round again: this tells our own session from a stranger's. Command
    lines alone do not: Ray's agents and workers overwrite theirs with a title.
    """
    return any(_uses(PROC / str(pid), str(folder)) for pid in session_members(session))


def end_session(session: int, *, wait_seconds: float, but: frozenset[int] = frozenset()) -> None:
    """Let a session's processes leave by themselves for a while, then kill what remains.

    `but` are processes to leave alone. Raises TimeoutError if the kernel does not let one go.
    """
    if wait_for_session(session, wait_seconds, but=but):
        return
    for pid in set(session_members(session)) - but:
        kill(pid)
    if not wait_for_session(session, 5.0, but=but):
        remaining = sorted(set(session_members(session)) - but)
        raise TimeoutError(f"processes {remaining} are still there 5 s after SIGKILL.")


def wait_for_session(session: int, seconds: float, *, but: frozenset[int] = frozenset()) -> bool:
    """Whether a session emptied within that time."""
    deadline = time.monotonic() + seconds
    while set(session_members(session)) - but:
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def outlive_sigterm() -> None:
    """Leave SIGTERM unheard, in this process and in all that it will start.

    Who ends a service may send it to the whole tree at once (systemd does); what the service has
    started ends when the service asks for it, or when its pipe closes. Blocked, not ignored: Ray's
    processes set handlers of their own.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def kill(pid: int) -> None:
    """SIGKILL a process that may be gone already."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def kill_group(group: int) -> None:
    """SIGKILL a process group that may be gone already."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def _living(entry: Path) -> tuple[int, str] | None:
    """Session and name of a process; None if it is a zombie, or ended while we looked."""
    try:
        stat = (entry / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # "pid (name) state ppid pgrp session ...": the name may hold spaces and brackets.
    before, _, after = stat.rpartition(")")
    state, _parent, _group, session = after.split()[:4]
    return None if state in {"Z", "X"} else (int(session), before.partition("(")[2])


def _uses(entry: Path, folder: str) -> bool:
    try:
        if folder.encode() in (entry / "cmdline").read_bytes():
            return True
        return any(str(link.readlink()).startswith(folder) for link in (entry / "fd").iterdir())
    except (FileNotFoundError, ProcessLookupError, PermissionError):  # it ended, or is another's
        return False
