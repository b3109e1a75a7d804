"""Bodies that are read whole: how they are declared, and how many bytes of them are held."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Request
from pydantic import BaseModel

from batchgrad_service.problems import UnavailableError, UnsupportedMediaTypeError

REFERENCE = "#/components/schemas/{model}"


def json_body(kind: type[BaseModel]) -> dict[str, Any]:
    """What a route that reads its body itself tells OpenAPI; `app.py` adds the schema."""
    schema = {"$ref": REFERENCE.format(model=kind.__name__)}
    content = {"application/json": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}


class Bodies:
    """Holds the JSON bodies of the requests under way, in all `most_bytes` of them."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._held = 0

    @asynccontextmanager
    async def json(self, request: Request) -> AsyncIterator[bytes]:
        """The body, which counts as held until the block ends; the edge bounds its length.

        Raises:
            UnsupportedMediaTypeError: it says that it is something else than JSON.
            UnavailableError: too much is held for others.
        """
        kind = request.headers.get("content-type", "application/json")
        media = kind.partition(";")[0].strip().lower()
        if media != "application/json" and not media.endswith("+json"):
            raise UnsupportedMediaTypeError(
                f"Got {kind:.100}; send JSON with content-type application/json."
            )
        chunks: list[bytes] = []
        own = 0
        try:
            async for chunk in request.stream():
                chunks.append(chunk)
                own += len(chunk)
                self._held += len(chunk)
                if own < self._held > self._most:
                    raise UnavailableError(
                        "Long bodies of other requests are being read: send it again.",
                        code="bodies_busy",
                        headers={"Retry-After": "2", "Connection": "close"},
                    )
            yield b"".join(chunks)
        finally:
            self._held -= own
