"""Send a file as a response, in chunks."""

from collections.abc import Iterator, Mapping
from os import SEEK_END
from typing import IO

from fastapi import Response
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask

CHUNK_BYTES = 2**18


def file_response(
    file: IO[bytes], media_type: str, headers: Mapping[str, str] | None = None
) -> Response:
    """The file's content, in chunks if it is longer than one; closes the file at the end."""
    length = file.seek(0, SEEK_END)
    file.seek(0)
    if length <= CHUNK_BYTES:
        with file:
            return Response(file.read(), headers=headers, media_type=media_type)
    return StreamingResponse(
        _chunks(file),
        headers={**(headers or {}), "Content-Length": str(length)},
        media_type=media_type,
        background=BackgroundTask(file.close),
    )


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
