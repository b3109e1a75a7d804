"""Plain data, to JSON and back."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter


@dataclass(frozen=True)
class Stored:
    """A base for dataclasses that a file keeps."""

    def write(self, path: Path) -> None:
        """Store as JSON."""
        text = TypeAdapter(dict[str, Any]).dump_json(asdict(self), indent=1)
        path.write_bytes(text + b"\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """What `write` stored."""
        return TypeAdapter(cls).validate_json(path.read_bytes())
