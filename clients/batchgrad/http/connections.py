"""The connections of a session: an HTTP client of httpx2 that blocks, and one for asyncio.

A session awaits both alike. The blocking one has its answer when it is called and suspends never,
so that `http/blocking.py` completes a coroutine on it in one go.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol, TypeVar

import httpx2

from batchgrad.errors import InvalidArgument

Result = TypeVar("Result")
Content = bytes | BinaryIO | None
_PIECE_BYTES = 2**18


@dataclass(frozen=True)
class EventStream:
    """An open event stream; where it was refused, the answer has been read."""

    response: httpx2.Response
    events: AsyncIterator[httpx2.ServerSentEvent]


class Connection(Protocol):
    """Sends single requests; raises httpx2's errors."""

    async def request(
        self, method: str, path: str, *, content: Content = None, **more: Any
    ) -> httpx2.Response: ...

    def events(self, path: str, **more: Any) -> AbstractAsyncContextManager[EventStream]: ...

    async def sleep(self, seconds: float) -> None: ...

    async def call(self, work: Callable[[], Result]) -> Result: ...

    async def close(self) -> None: ...


class BlockingConnection:
    """Connections whose methods return when they are done."""

    def __init__(
        self,
        transport: httpx2.BaseTransport | None,
        sleep: Callable[[float], None] | None,
        **options: Any,
    ) -> None:
        _check(transport, httpx2.BaseTransport)
        self._http = httpx2.Client(transport=transport, **options)
        self._sleep = sleep or time.sleep

    async def request(
        self, method: str, path: str, *, content: Content = None, **more: Any
    ) -> httpx2.Response:
        return self._http.request(method, path, content=content, **more)

    @asynccontextmanager
    async def events(self, path: str, **more: Any) -> AsyncIterator[EventStream]:
        with self._http.sse(path, **more) as source:
            if source.response.status_code >= 400:
                source.response.read()
            yield EventStream(source.response, _each(source))

    async def sleep(self, seconds: float) -> None:
        self._sleep(seconds)

    async def call(self, work: Callable[[], Result]) -> Result:
        return work()

    async def close(self) -> None:
        self._http.close()


class AsyncConnection:
    """Connections of asyncio: cancelling a task ends its request at once."""

    def __init__(
        self,
        transport: httpx2.AsyncBaseTransport | None,
        sleep: Callable[[float], Awaitable[None]] | None,
        **options: Any,
    ) -> None:
        _check(transport, httpx2.AsyncBaseTransport)
        self._http = httpx2.AsyncClient(transport=transport, **options)
        self._sleep = sleep or asyncio.sleep

    async def request(
        self, method: str, path: str, *, content: Content = None, **more: Any
    ) -> httpx2.Response:
        if content is None or isinstance(content, bytes):
            return await self._http.request(method, path, content=content, **more)
        length = os.fstat(content.fileno()).st_size
        headers = {**(more.pop("headers", None) or {}), "Content-Length": str(length)}
        pieces = _pieces(content)
        return await self._http.request(method, path, content=pieces, headers=headers, **more)

    @asynccontextmanager
    async def events(self, path: str, **more: Any) -> AsyncIterator[EventStream]:
        async with self._http.sse(path, **more) as source:
            if source.response.status_code >= 400:
                await source.response.aread()
            yield EventStream(source.response, aiter(source))

    async def sleep(self, seconds: float) -> None:
        await self._sleep(seconds)

    async def call(self, work: Callable[[], Result]) -> Result:
        return await asyncio.to_thread(work)

    async def close(self) -> None:
        await self._http.aclose()


def _check(transport: object, expected: type) -> None:
    if not (transport is None or isinstance(transport, expected)):
        raise InvalidArgument(
            f"transport is a {type(transport).__name__}; expected an httpx2.{expected.__name__}."
        )


async def _each(source: httpx2.EventSource) -> AsyncIterator[httpx2.ServerSentEvent]:
    for event in source:
        yield event


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    """The content of a file; a slow disk does not stop other tasks."""
    while piece := await asyncio.to_thread(file.read, _PIECE_BYTES):
        yield piece
