"""Uploaded files for tests of the readers. Nothing here imports pyarrow before the readers do."""

from typing import Any

from batchgrad.contract import UploadedFile


def uploaded(name: str = "", **options: Any) -> UploadedFile:
    """An uploaded file; options are format, pictures, or those of a text."""
    own = {key: options.pop(key) for key in ("format", "pictures") if key in options}
    return UploadedFile(upload=f"sha256:{'0' * 64}", name=name, text=options, **own)
