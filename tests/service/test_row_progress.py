"""Messages about the rows that an operation's process has done."""

import socket
import subprocess
import sys

from batchgrad_service.questions.progress import INTERVAL_SECONDS, ProgressSender

ALONE = """
import socket
from batchgrad_service.questions.progress import ProgressSender
ours, theirs = socket.socketpair()
theirs.close()
ProgressSender(ours)
print("it goes on")
"""


def test_it_tells_seldom_but_the_end_at_once() -> None:
    now = 0.0
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        send = ProgressSender(ours, clock=lambda: now)

        def sent() -> list[bytes]:
            """The numbers of rows that have arrived."""
            try:
                lines = theirs.recv(2**16).split(b'"rows_done":')[1:]
            except BlockingIOError:
                return []
            return [line.partition(b",")[0] for line in lines]

        assert sent() == [b"0"]
        now = 0.9 * INTERVAL_SECONDS
        send(1, 9)
        assert sent() == []
        now = 1.1 * INTERVAL_SECONDS
        send(2, 9)
        send(3, 9)
        assert sent() == [b"2"]
        send(9, 9)
        assert sent() == [b"9"]


def test_a_process_without_a_service_ends() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALONE], capture_output=True, check=False, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")
