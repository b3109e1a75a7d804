"""Read JSON bodies into memory, with a limit on the bytes of all requests together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request

from batchgrad_service.http.json_bodies import is_json
from batchgrad_service.problems import UnavailableError, UnsupportedMediaTypeError


class BodyBuffer:
    """Holds the JSON bodies of requests in progress, at most `max_bytes` in total."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held_bytes = 0

    @asynccontextmanager
    async def json(self, request: Request) -> AsyncIterator[bytes]:
        """The body, held until the block ends. AccessMiddleware limits the length of one body.

        Raises:
            UnsupportedMediaTypeError: the content type is not JSON.
            UnavailableError: bodies of other requests take up the limit.
        """
        content_type = request.headers.get("content-type", "application/json")
        if not is_json(content_type):
            raise UnsupportedMediaTypeError(
                f"The body has content type {content_type:.100}; expected application/json."
            )
        chunks: list[bytes] = []
        own_bytes = 0
        try:
            async for chunk in request.stream():
                chunks.append(chunk)
                own_bytes += len(chunk)
                self._held_bytes += len(chunk)
                if own_bytes < self._held_bytes > self._max_bytes:
                    raise UnavailableError(
                        "The service is reading too many long requests: send this one again in "
                        "2 seconds.",
                        code="bodies_busy",
                        headers={"Retry-After": "2", "Connection": "close"},
                    )
            yield b"".join(chunks)
        finally:
            self._held_bytes -= own_bytes
