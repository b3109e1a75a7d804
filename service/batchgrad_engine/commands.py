"""Commands from the service to a running engine, read from stdin in a thread."""

import queue
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, Protocol, TextIO

from pydantic import ValidationError

from batchgrad_engine.executors.protocol import Interrupted
from batchgrad_engine.messages import ClusterFound, Outcome, Stored, ToEngine

POLL_SECONDS = 0.2


class CommandSource(Protocol):
    """What a training run checks before every step."""

    @property
    def command(self) -> Literal["pause", "cancel"] | None:
        """The command to obey instead of the next step."""

    @property
    def interrupted(self) -> bool:
        """True if the engine must exit."""

    def ledger_wanted(self) -> bool:
        """True if the service requested the example ledger since the last call."""


def outcome_of(commands: CommandSource) -> Outcome:
    """The outcome of an attempt that ends because of `commands`."""
    if commands.interrupted or commands.command is None:
        return "interrupted"
    return "paused" if commands.command == "pause" else "cancelled"


class CommandReader:
    """Holds the latest command, and whether stdin has ended: then the engine must exit.

    Calls `stored` with the number of each line that the service has stored.
    """

    def __init__(self, stream: TextIO, stored: Callable[[int], None]) -> None:
        self.command: Literal["pause", "cancel"] | None = None
        self.interrupted = False
        self._ledger_wanted = threading.Event()
        self._cluster: queue.SimpleQueue[ClusterFound] = queue.SimpleQueue()
        self._stream = stream
        self._stored = stored
        self._thread = threading.Thread(target=self._read, name="commands", daemon=True)
        self._thread.start()

    def ledger_wanted(self) -> bool:
        """True if the ledger was requested since the last call."""
        if not self._ledger_wanted.is_set():
            return False
        self._ledger_wanted.clear()  # a later request gets a ledger of its own
        return True

    def cluster(self, interrupted: Callable[[], bool]) -> ClusterFound:
        """Wait for the service's answer to `ClusterWanted`.

        Raises:
            Interrupted: `interrupted` returned True first.
        """
        while not interrupted():
            with suppress(queue.Empty):
                return self._cluster.get(timeout=POLL_SECONDS)
        raise Interrupted

    def _read(self) -> None:
        for line in self._stream:
            try:
                message = ToEngine.validate_json(line)
            except ValidationError as error:
                sys.stderr.write(f"not a command: {line!r}: {error}\n")
                continue
            if isinstance(message, ClusterFound):
                self._cluster.put(message)
            elif isinstance(message, Stored):
                self._stored(message.stored)
            elif message.command == "ledger":
                self._ledger_wanted.set()
            else:
                self.command = message.command
        self.interrupted = True
