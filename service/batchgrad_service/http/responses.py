"""Responses with a model as JSON or a file in chunks; comparison of entity tags."""

from collections.abc import Iterator, Mapping
from os import SEEK_END
from typing import IO

from fastapi import Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from starlette.background import BackgroundTask

CHUNK_BYTES = 2**18


def json_response(
    model: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A model as JSON, written by pydantic; numbers that are not finite become null."""
    return Response(model.model_dump_json(), status, headers=headers, media_type="application/json")


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


def etag_matches(if_none_match: str | None, etag: str) -> bool:
    """Whether the If-None-Match header names `etag` (RFC 9110, 13.1.2: weak comparison)."""
    tags = {tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")}
    return "*" in tags or etag in tags
