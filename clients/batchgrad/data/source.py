"""A file that is ready to be sent, and what its columns are if the data told that."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import SEEK_END
from typing import Any, BinaryIO

from batchgrad.contract import FileFormat
from batchgrad.errors import FileFailed


@dataclass(frozen=True)
class Source:
    """An open file. `name` decides the format on the service, unless `format` is given.

    `table` are options that the data themselves tell, such as the target of a scikit-learn bunch;
    what the user says comes first.
    """

    file: BinaryIO
    name: str
    format: FileFormat | None = None
    table: Mapping[str, Any] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """The file's length."""
        return self.file.seek(0, SEEK_END)

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset` on. Raises FileFailed."""
        try:
            self.file.seek(offset)
            return self.file.read(size)
        except OSError as error:
            raise FileFailed(f"{self.name} cannot be read: {error}.") from error


@contextmanager
def temporary_file() -> Iterator[BinaryIO]:
    """An empty file without a name, which is gone at the end of the block."""
    with tempfile.TemporaryFile(prefix="batchgrad-") as file:
        yield file
