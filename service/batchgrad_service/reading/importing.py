"""Write the arrays of an uploaded file to a directory."""

from collections.abc import Callable
from pathlib import Path

from batchgrad.contract import ImportRequest
from batchgrad_service.datasets.npz import unpack
from batchgrad_service.datasets.validation import Content, inspect
from batchgrad_service.problems import InvalidError

Progress = Callable[[int, int | None], None]
"""Called with the rows that are done, and the number of all rows if it is known."""


def import_file(
    path: Path,
    request: ImportRequest,
    directory: Path,
    *,
    max_bytes: int,
    progress: Progress,
) -> Content:
    """Write the arrays of the file at `path` to `directory`, and describe them.

    Raises:
        InvalidError: the file cannot be read, or its content cannot be trained on.
        TooLargeError: the arrays hold more than `max_bytes` together.
    """
    progress(0, None)
    if request.file.format not in {None, "npz"}:
        raise InvalidError.field(
            "/file/format", f"This service reads npz, not {request.file.format}."
        )
    unpack(path, directory, max_bytes=max_bytes)
    content = inspect(directory)
    progress(content.examples, content.examples)
    return content
