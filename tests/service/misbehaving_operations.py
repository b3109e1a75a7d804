"""`python -m tests.service.misbehaving_operations FD`: fork processes whose operations fail.

The task of an import names one of `DEEDS`.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from batchgrad_service.problems import ConflictError
from batchgrad_service.questions import process
from batchgrad_service.questions.kinds import OPERATIONS
from batchgrad_service.reading.row_progress import RowProgress


def hang() -> None:
    """Sleep, and never tell how far it is."""
    while True:
        time.sleep(1)


def grow() -> None:
    """Hold a GiB, of which little is resident."""
    _kept = [bytes(2**20) for _ in range(2**10)]


def burn() -> None:
    while True:
        pass


def write(path: str) -> None:
    with Path(path).open("wb") as file:
        for _ in range(100):
            file.write(bytes(2**20))
            file.flush()


def refuse() -> None:
    raise ConflictError("Somebody was faster.", code="too_late")


def fail() -> None:
    raise RuntimeError("a fault of the service")


DEEDS: dict[str, Callable[[], None]] = {
    "hang": hang,
    "grow": grow,
    "burn": burn,
    "crash": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "die": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "refuse": refuse,
    "fail": fail,
    "answer": lambda: None,
}


def _do(body: bytes, progress: RowProgress) -> bytes:
    task = json.loads(body)
    if task["do"] == "write":
        write(task["path"])
    else:
        DEEDS[task["do"]]()
    progress(3, 3)
    return str(os.getpid()).encode()


OPERATIONS["import"] = _do

if __name__ == "__main__":
    sys.exit(process.main())
