"""Tell the service how far an operation is."""

import os
import socket
import time
from collections.abc import Callable

from batchgrad_service.questions.protocol import AnswerHeader, Progress

INTERVAL_SECONDS = 0.1


class ProgressSender:
    """Sends progress at most every INTERVAL_SECONDS; the first at once, as the process's id."""

    def __init__(
        self, connection: socket.socket, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._sent_at = clock()
        self._send(0, None)

    def __call__(self, rows_done: int, rows: int | None) -> None:
        """Send it, unless something was sent just before.

        Ends the process if nobody waits: the operation was cancelled, or the service has ended.
        """
        if self._clock() - self._sent_at >= INTERVAL_SECONDS or rows_done == rows:
            self._sent_at = self._clock()
            self._send(rows_done, rows)

    def _send(self, rows_done: int, rows: int | None) -> None:
        progress = Progress(pid=os.getpid(), rows_done=rows_done, rows=rows)
        content = progress.model_dump_json().encode()
        header = AnswerHeader(outcome="progress", bytes=len(content), last=False)
        try:
            self._connection.sendall(header.model_dump_json().encode() + b"\n" + content)
        except (BrokenPipeError, ConnectionResetError):
            os._exit(1)
