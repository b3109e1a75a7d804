"""Find the processes of a session in /proc, and end them.

All processes that the ray_head process starts stay in its session (Ray's workers create process
groups, but no sessions). So the session finds the processes that a killed ray_head process left.
"""

import os
import signal
import time
from pathlib import Path

PROC = Path("/proc")
POLL_SECONDS = 0.05


def session_members(session: int, *, named: str | None = None) -> list[int]:
    """Ids of a session's processes, optionally with this name; without zombies."""
    return [
        int(entry.name)
        for entry in PROC.iterdir()
        if entry.name.isdigit()
        and (found := _living(entry)) is not None
        and found[0] == session
        and named in {None, found[1]}
    ]


def is_alive(pid: int) -> bool:
    """True if a process exists and is no zombie."""
    return _living(PROC / str(pid)) is not None


def session_uses(session: int, folder: Path) -> bool:
    """True if a process of the session has `folder` in its command line or in its open files.

    Process ids are reused: this distinguishes our session from an unrelated one. Command lines
    alone are not enough: Ray's agents and workers overwrite theirs with a title.
    """
    return any(_uses(PROC / str(pid), str(folder)) for pid in session_members(session))


def end_session(session: int, *, wait_seconds: float, but: frozenset[int] = frozenset()) -> None:
    """Wait until a session's processes end by themselves, then kill those that remain.

    `but` are processes to leave alone.

    Raises:
        TimeoutError: a process still exists 5 s after SIGKILL.
    """
    if wait_for_session(session, wait_seconds, but=but):
        return
    for pid in set(session_members(session)) - but:
        kill(pid)
    if not wait_for_session(session, 5.0, but=but):
        remaining = sorted(set(session_members(session)) - but)
        raise TimeoutError(f"processes {remaining} still exist 5 s after SIGKILL.")


def wait_for_session(session: int, seconds: float, *, but: frozenset[int] = frozenset()) -> bool:
    """Wait at most `seconds` until a session has no processes; return whether it has none."""
    deadline = time.monotonic() + seconds
    while set(session_members(session)) - but:
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def block_sigterm() -> None:
    """Block SIGTERM in this process and in all that it will start.

    systemd, for example, sends SIGTERM to the whole process tree of a service at once; but the
    service's children end at its request, or when its pipe closes. The signal is blocked, not
    ignored, because Ray's processes set their own handlers.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def kill(pid: int) -> None:
    """Send SIGKILL to a process; do nothing if it has ended."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def kill_group(group: int) -> None:
    """Send SIGKILL to a process group; do nothing if it has ended."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def _living(entry: Path) -> tuple[int, str] | None:
    """Session and name of a process; None if it is a zombie or has ended."""
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
    except (
        FileNotFoundError,
        ProcessLookupError,
        PermissionError,
    ):  # ended, or another user's
        return False
