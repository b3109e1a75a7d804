"""Answers that may be large: sent from a file piece by piece, as their reader takes them."""

from collections.abc import Iterator, Mapping
from os import SEEK_END
from typing import IO

from fastapi import Response
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask

CHUNK_BYTES = 2**18


def sent_from(
    file: IO[bytes], media_type: str, headers: Mapping[str, str] | None = None
) -> Response:
    """The file's whole content; it is closed after that."""
    length = file.seek(0, SEEK_END)
    file.seek(0)
    if length <= CHUNK_BYTES:
        with file:
            return Response(file.read(), headers=headers, media_type=media_type)
    return StreamingResponse(
        _pieces(file),
        headers={**(headers or {}), "Content-Length": str(length)},
        media_type=media_type,
        background=BackgroundTask(file.close),
    )


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(CHUNK_BYTES):
            yield piece
