"""The folder of uploaded files: what their names say, and how much of each is there."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from batchgrad.contract import Upload
from batchgrad_workers.system.files import hex_of, is_content

_PART = re.compile(r"([0-9a-f]{64})\.(\d{1,20})\.part")


def is_uploaded(name: str) -> bool:
    """Whether `name` is that of an uploaded file, or of a part of one."""
    return is_content(name) or _PART.fullmatch(name) is not None


def digest_of(path: Path) -> str:
    """The digest that a file's name begins with."""
    return f"sha256:{path.name.partition('.')[0]}"


@dataclass(frozen=True)
class Found:
    """A file, or a part of one: `received` of its `bytes` bytes."""

    path: Path
    digest: str
    bytes: int
    received: int

    @property
    def complete(self) -> bool:
        """Whether all bytes are there and were hashed."""
        return is_content(self.path.name)

    def shown(self) -> Upload:
        """The file as an answer."""
        return Upload(digest=self.digest, bytes=self.bytes, received=self.received)


class UploadFolder:
    """A folder of files DIGEST, and of parts DIGEST.BYTES.part."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def whole(self, digest: str) -> Path:
        """Where a complete file is."""
        return self.path / hex_of(digest)

    def part(self, digest: str, size_bytes: int) -> Path:
        """Where a part of a file is that will have `size_bytes`."""
        return self.path / f"{hex_of(digest)}.{size_bytes}.part"

    def files(self) -> list[Path]:
        """All files and parts."""
        return [path for path in self.path.iterdir() if is_uploaded(path.name)]

    def find(self, digest: str) -> Found | None:
        """What is there of a file."""
        for path in self._candidates(digest):
            part = _PART.fullmatch(path.name)
            try:
                received = path.stat().st_size
            except FileNotFoundError:
                continue
            return Found(path, digest, int(part[2]) if part else received, received)
        return None

    def _candidates(self, digest: str) -> Iterator[Path]:
        yield from self.path.glob(f"{hex_of(digest)}.*.part")
        yield self.whole(digest)  # what a part that was just there may be now
