"""What the service tells a running engine, read from stdin by a thread of its own."""

import sys
import threading
from typing import Literal, Protocol, TextIO

from pydantic import ValidationError

from batchgrad_service.engine.messages import Command


class Told(Protocol):
    """What a session looks at before every step."""

    @property
    def command(self) -> Literal["pause", "cancel"] | None:
        """What to do instead of the next step."""

    @property
    def interrupted(self) -> bool:
        """Whether the engine has to go."""

    def ledger_wanted(self) -> bool:
        """Whether somebody asked for the example ledger since the last call."""


class Orders:
    """The latest command, and whether stdin has ended: then the engine has to go."""

    def __init__(self, stream: TextIO) -> None:
        self.command: Literal["pause", "cancel"] | None = None
        self.interrupted = False
        self._ledger_wanted = threading.Event()
        self._stream = stream
        threading.Thread(target=self._read, name="orders", daemon=True).start()

    def ledger_wanted(self) -> bool:
        """Whether the ledger was asked for since the last call."""
        if not self._ledger_wanted.is_set():
            return False
        self._ledger_wanted.clear()  # what is asked from here on gets a ledger of its own
        return True

    def _read(self) -> None:
        for line in self._stream:
            try:
                command = Command.model_validate_json(line).command
            except ValidationError as error:
                sys.stderr.write(f"not a command: {line!r}: {error}\n")
                continue
            if command == "ledger":
                self._ledger_wanted.set()
            else:
                self.command = command
        self.interrupted = True
