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


class Orders:
    """The latest command, and whether stdin has ended: then the engine has to go."""

    def __init__(self, stream: TextIO) -> None:
        self.command: Literal["pause", "cancel"] | None = None
        self.interrupted = False
        self._stream = stream
        threading.Thread(target=self._read, name="orders", daemon=True).start()

    def _read(self) -> None:
        for line in self._stream:
            try:
                self.command = Command.model_validate_json(line).command
            except ValidationError as error:
                sys.stderr.write(f"not a command: {line!r}: {error}\n")
        self.interrupted = True
