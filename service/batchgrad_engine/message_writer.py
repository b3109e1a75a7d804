"""Write messages to the service, and keep those that it has not stored yet."""

import logging
import threading
from collections import deque
from typing import BinaryIO

from batchgrad_engine.checkpoints import unstored_messages
from batchgrad_engine.messages import (
    Checkpointed,
    EngineEvent,
    Finished,
    Sent,
    SentReport,
    Start,
    Started,
    encode,
)

_log = logging.getLogger("batchgrad.engine")


class MessageWriter:
    """Writes one line per message; after the pipe breaks it writes nothing and raises nothing.

    Keeps reports, events and checkpoints until `stored` confirms that the service has stored them.
    Thread-safe.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._open = True
        self._number = 0
        self._unstored: deque[tuple[int, bytes]] = deque()
        self._saved: list[int] = []  # numbers of the lines in the file

    def send(self, message: Sent) -> None:
        """Write one line; log starts, events and ends as well."""
        if isinstance(message, Started | EngineEvent | Finished):
            data = message.model_dump(mode="json", exclude={"type", "event"})
            name = message.event if isinstance(message, EngineEvent) else message.type
            _log.info(name, extra={"data": data.pop("data", data)})
        with self._lock:
            line = encode(message)
            self._number += 1
            if isinstance(message, SentReport | EngineEvent | Checkpointed):
                self._unstored.append((self._number, line))
            if not self._open:
                return
            try:
                self._stream.write(line)
                self._stream.write(b"\n")
                self._stream.flush()
            except BrokenPipeError:
                self._open = False

    def stored(self, number: int) -> None:
        """Drop the lines up to this number: the service has stored them."""
        with self._lock:
            while self._unstored and self._unstored[0][0] <= number:
                self._unstored.popleft()

    def save_unstored(self, start: Start) -> None:
        """Write the lines that are not stored yet to a file beside the attempt's checkpoints."""
        with self._lock:
            lines = list(self._unstored)
        numbers = [number for number, _ in lines]
        if numbers != self._saved:
            unstored_messages.write(start.job_directory, start.attempt, lines)
            self._saved = numbers
