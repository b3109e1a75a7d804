"""Peak memory of processes and their descendants, from /proc."""

from collections.abc import Callable
from pathlib import Path

PROC = Path("/proc")


def descendants(pid: int, proc: Path = PROC) -> list[int]:
    """`pid` and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in proc.iterdir():
        if entry.name.isdigit() and (parent := _parent(entry)) is not None:
            children.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        current = todo.pop()
        found.append(current)
        todo += children.get(current, [])
    return found


def peak_bytes(pid: int, proc: Path = PROC) -> int:
    """Peak resident memory of `pid` (VmHWM); 0 if it has ended."""
    try:
        status = (proc / str(pid) / "status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def peak_bytes_below(pid: int, wanted: Callable[[str], bool] = lambda _: True) -> int:
    """Sum of the peaks of `pid` and its descendants whose command line `wanted` accepts."""
    return sum(peak_bytes(each) for each in descendants(pid) if wanted(_command(each)))


def start_peak(own: Path = PROC / "self") -> int:
    """Resident memory of this process, from which its peak is counted anew; 0: it cannot be."""
    try:
        (own / "clear_refs").write_text("5")
    except OSError:
        return 0
    for line in (own / "status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def _parent(entry: Path) -> int | None:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


def _command(pid: int) -> str:
    try:
        return (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""
