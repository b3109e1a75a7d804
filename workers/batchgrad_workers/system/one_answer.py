"""A process that answers one request: a line on stdin, an answer on stdout, nothing after that."""

import os
import threading
from pathlib import Path
from typing import BinaryIO


def keep_stdout() -> BinaryIO:
    """A stream on the real stdout; everything else that prints goes to stderr from now on.

    Stdout ends with the process, even if the stream is closed before: whoever reads it to its end
    may close stdin, which would end the process with an error.
    """
    answers = os.fdopen(os.dup(1), "wb", closefd=False)
    os.dup2(2, 1)
    return answers


def read_request() -> bytes:
    """The request's line. When stdin ends after it, nobody waits for the answer: exit.

    Whatever else reads stdin from now on finds it empty.
    """
    line = b""
    while not line.endswith(b"\n"):
        line += os.read(0, 65536) or b"\n"
    stdin = os.dup(0)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    threading.Thread(target=_exit_at_end, args=(stdin,), name="stdin", daemon=True).start()
    return line


def _exit_at_end(stdin: int) -> None:
    while os.read(stdin, 4096):  # the bare descriptor: sys.stdin's lock would block the exit
        pass
    os._exit(1)
