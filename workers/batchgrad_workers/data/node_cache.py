"""Contents that were fetched to this node, kept within a bound, shared by all its processes.

<root>/room.lock          held while room is made and reserved
<root>/NAME/held          shared lock of whoever has the content open; its time is the last use
<root>/NAME/fetch         exclusive lock of whoever fetches; a killed fetcher's goes with it
<root>/NAME/partial/      being fetched
<root>/NAME/content/      whole and verified

Lock files are never removed: somebody may be waiting for them.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from batchgrad_workers.data.transfers import DatasetUnavailable
from batchgrad_workers.system.durability import sync


class NodeCache:
    """At most `most_bytes` below `parent`, in a directory that is this user's alone."""

    def __init__(self, parent: Path, most_bytes: int) -> None:
        self._root = parent / f"batchgrad-datasets-{os.getuid()}"
        self._most_bytes = most_bytes
        parent.mkdir(parents=True, exist_ok=True)
        self._root.mkdir(mode=0o700, exist_ok=True)
        found = self._root.lstat()
        if found.st_uid != os.getuid() or found.st_mode & 0o777 != 0o700:
            raise DatasetUnavailable(
                f"{self._root} is not this user's private directory (mode 0700): remove it, or "
                "set BATCHGRAD_NODE_CACHE_DIR to another place"
            )

    def hold(
        self, name: str, files: Mapping[str, int], fetch: Callable[[Path], None]
    ) -> tuple[Path, int]:
        """The directory of content `name`, and an open descriptor that keeps it from eviction.

        `files` are file names and bytes. If it isn't here whole, one process calls `fetch`, which
        fills these files, made at full size, in the directory that it is given; others wait.

        Raises:
            DatasetUnavailable: there is no room.
        """
        entry = self._root / name
        entry.mkdir(exist_ok=True)
        content = entry / "content"
        held = _lock(entry / "held", fcntl.LOCK_SH)
        try:
            if not _is_whole(content, files):
                with _locked(entry / "fetch"):
                    if not _is_whole(content, files):  # nobody fetched it while we waited
                        self._fill(entry, files, fetch)
            now = time.time_ns()  # finer than what utime takes by itself
            os.utime(entry / "held", ns=(now, now))
        except BaseException:
            os.close(held)
            raise
        return content, held

    def _fill(self, entry: Path, files: Mapping[str, int], fetch: Callable[[Path], None]) -> None:
        partial = entry / "partial"
        _clear(entry)
        try:
            with _locked(self._root / "room.lock"):
                self._make_room(sum(files.values()))
                partial.mkdir()
                for file, size_bytes in files.items():
                    _reserve(partial / file, size_bytes)
            fetch(partial)
            for file in files:
                sync(partial / file)
            os.utime(partial)  # no file in it is younger: see _is_whole
            sync(partial)
            with _locked(self._root / "room.lock"):  # who counts bytes sees it once
                partial.rename(entry / "content")
            sync(entry)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _make_room(self, needed_bytes: int) -> None:
        """Evict what nobody has open, the least recently used first, as far as is needed."""
        ours = [entry for entry in self._root.iterdir() if (entry / "held").is_file()]
        sizes = {entry: _bytes(entry) for entry in ours}
        used = {entry: size for entry, size in sizes.items() if size}
        free = shutil.disk_usage(self._root).free
        room = min(self._most_bytes - sum(used.values()), free)
        for entry in sorted(used, key=lambda entry: (entry / "held").stat().st_mtime_ns):
            if needed_bytes <= room:
                return
            if _evict(entry):
                room += used[entry]
        if needed_bytes > room:
            raise DatasetUnavailable(
                f"it has {needed_bytes} bytes and the cache {self._root} has room for {room}: it "
                f"may hold {self._most_bytes} (BATCHGRAD_NODE_CACHE_BYTES), what other jobs have "
                f"open stays, and the disk has {free} free"
            )


def _is_whole(content: Path, files: Mapping[str, int]) -> bool:
    """Whether all is there as it was verified: who writes to a file makes it younger."""
    try:
        verified = content.stat().st_mtime_ns
        found = {file: (content / file).stat() for file in files}
    except FileNotFoundError:
        return False
    return all(
        stat.st_size == files[file] and stat.st_mtime_ns <= verified for file, stat in found.items()
    )


def _bytes(entry: Path) -> int:
    """What content and partial have reserved; 0 for what goes away meanwhile."""
    total = 0
    for folder, _, files in os.walk(entry):
        for file in files:
            with suppress(FileNotFoundError):
                total += (Path(folder) / file).stat().st_size
    return total


def _evict(entry: Path) -> bool:
    """Remove a content unless somebody has it open or fetches it."""
    held = os.open(entry / "held", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        _clear(entry)
        return True
    finally:
        os.close(held)


def _clear(entry: Path) -> None:
    """Remove a content and what was fetched of it; processes that have it mapped keep it."""
    for directory in (entry / "content", entry / "partial"):
        if directory.exists():
            shutil.rmtree(directory)


def _reserve(file: Path, size_bytes: int) -> None:
    """An empty file that has its place on the disk, so that it counts before it is filled."""
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.posix_fallocate(handle, 0, size_bytes)
    finally:
        os.close(handle)


def _lock(file: Path, kind: int) -> int:
    """A descriptor with the lock; waits for it. The lock goes with the descriptor."""
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, kind)
    except BaseException:
        os.close(handle)
        raise
    return handle


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    handle = _lock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(handle)
