"""Remove the logs of ended Ray workers, which Ray keeps for ever.

`python -m batchgrad_service.ray_head.logs FOLDER`, where FOLDER holds Ray's sessions, does it once.
"""

import re
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from batchgrad_workers.system.processes import is_alive

KEEP_SECONDS = 3600.0
"""How long an ended worker's log is kept after its last line, to show why the worker ended."""

ROTATION = {"RAY_ROTATION_MAX_BYTES": str(32 * 2**20), "RAY_ROTATION_BACKUP_COUNT": "1"}
"""Variables for Ray's environment; otherwise the logs of head and raylet grow to 3 GiB each."""

_OF_ONE_PROCESS = re.compile(r"(?:worker|python-core|event)\S*[-_](\d+)\.(?:out|err|log)(?:\.\d+)?")


def prune(
    folder: Path,
    *,
    keep_seconds: float = KEEP_SECONDS,
    is_alive: Callable[[int], bool] = is_alive,
) -> None:
    """Remove the logs of ended processes, in every session below `folder`.

    A log's name ends with its process id, which must be of this machine (or container).
    """
    before = time.time() - keep_seconds
    for file in folder.glob("session_2*/logs/**/*"):  # session_latest is a link to one of them
        named = _OF_ONE_PROCESS.fullmatch(file.name)
        if named is None or is_alive(int(named[1])):
            continue
        with suppress(FileNotFoundError):  # it was rotated meanwhile
            if file.lstat().st_mtime < before:
                file.unlink()


if __name__ == "__main__":
    prune(Path(sys.argv[1]))
