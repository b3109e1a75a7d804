"""What the service tells a running engine, read from stdin by a thread of its own."""

import queue
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, Protocol, TextIO

from pydantic import ValidationError

from batchgrad_engine.executors.factory import Interrupted
from batchgrad_engine.messages import ClusterFound, Stored, ToEngine

POLL_SECONDS = 0.2


class CommandSource(Protocol):
    """What a session looks at before every step."""

    @property
    def command(self) -> Literal["pause", "cancel"] | None:
        """What to do instead of the next step."""

    @property
    def interrupted(self) -> bool:
        """Whether the engine has to go."""

    def ledger_wanted(self) -> bool:
        """Whether somebody asked for the example ledger since the last call."""


class CommandReader:
    """The latest command, and whether stdin has ended: then the engine has to go.

    `stored` is called with the number of each line that the service has stored.
    """

    def __init__(self, stream: TextIO, stored: Callable[[int], None]) -> None:
        self.command: Literal["pause", "cancel"] | None = None
        self.interrupted = False
        self._ledger_wanted = threading.Event()
        self._cluster: queue.SimpleQueue[ClusterFound] = queue.SimpleQueue()
        self._stream = stream
        self._stored = stored
        self._thread = threading.Thread(target=self._read, name="orders", daemon=True)
        self._thread.start()

    def ledger_wanted(self) -> bool:
        """Whether the ledger was asked for since the last call."""
        if not self._ledger_wanted.is_set():
            return False
        self._ledger_wanted.clear()  # what is asked from here on gets a ledger of its own
        return True

    def cluster(self, interrupted: Callable[[], bool]) -> ClusterFound:
        """Wait for the service's answer to `ClusterWanted`. Raises Interrupted."""
        while not interrupted():
            with suppress(queue.Empty):
                return self._cluster.get(timeout=POLL_SECONDS)
        raise Interrupted

    def _read(self) -> None:
        for line in self._stream:
            try:
                order = ToEngine.validate_json(line)
            except ValidationError as error:
                sys.stderr.write(f"not a command: {line!r}: {error}\n")
                continue
            if isinstance(order, ClusterFound):
                self._cluster.put(order)
            elif isinstance(order, Stored):
                self._stored(order.stored)
            elif order.command == "ledger":
                self._ledger_wanted.set()
            else:
                self.command = order.command
        self.interrupted = True
