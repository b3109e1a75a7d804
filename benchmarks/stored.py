"""Dataclasses that are stored as JSON."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter


@dataclass(frozen=True)
class Stored:
    """Base class of dataclasses that are stored in a file."""

    def write(self, path: Path) -> None:
        """Write this object to `path` as JSON."""
        text = TypeAdapter(dict[str, Any]).dump_json(asdict(self), indent=1)
        path.write_bytes(text + b"\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read an object that `write` stored."""
        return TypeAdapter(cls).validate_json(path.read_bytes())
