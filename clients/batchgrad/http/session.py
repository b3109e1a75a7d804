"""The HTTP session with a service: requests with retries, and event streams."""

import json
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

import httpx2

from batchgrad import timeouts
from batchgrad.contract.wire import Origin
from batchgrad.errors import (
    BatchgradError,
    ConnectionFailed,
    FileFailed,
    InvalidArgument,
    InvalidSpec,
    Timeout,
    UnexpectedAnswer,
)
from batchgrad.http.addresses import checked_token, checked_url, environment_fault, proxy_between
from batchgrad.http.connections import Connection, Content, EventStream
from batchgrad.http.responses import ORIGIN, refusal, sent
from batchgrad.http.retries import RETRIED_STATUSES, Retries, retry_after_seconds
from batchgrad.parsing.plain import nonfinite, plain
from batchgrad.version import __version__

Body = bytes | Path | None
Result = TypeVar("Result")
Params = Mapping[str, str | int | list[str] | None]

# The request did not arrive, or its answer was lost. Each request of this client may be repeated:
# POST /v1/jobs has an Idempotency-Key, the other POSTs change nothing the second time.
REPEATABLE = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.ReadError,
    httpx2.WriteError,
    httpx2.CloseError,
    httpx2.RemoteProtocolError,
)
CONNECT_SECONDS = 5.0
# Between events of a stream the service sends a comment every few seconds.
STREAM_SILENCE_SECONDS = 60.0


class Session:
    """Sends requests to one service; raises `batchgrad.errors` for what goes wrong."""

    def __init__(
        self,
        connect: Callable[..., Connection],
        url: str,
        token: str | None,
        *,
        timeout: float | None = timeouts.REQUEST,
        transport: httpx2.BaseTransport | httpx2.AsyncBaseTransport | None = None,
        retries: Retries | None = None,
        sleep: Callable[[float], Any] | None = None,
    ) -> None:
        address, known = checked_url(url), checked_token(token)
        if address.login and known:
            raise InvalidArgument(
                f"There is a token, and a user in the URL of {address.url}: give one of them."
            )
        self.url = address.url
        self.origin = Origin()
        self.timeout = timeout
        self.retries = retries or Retries()
        self._proxy = proxy_between(address) if transport is None else None
        headers = {"User-Agent": f"batchgrad/{__version__}", "Accept": "application/json"}
        if known:
            headers["Authorization"] = f"Bearer {known}"
        try:
            self._connection = connect(
                transport,
                sleep,
                base_url=self.url,
                headers=headers,
                timeout=_limits(timeout),
                auth=address.login or (None if known else _with_local_token),
                trust_env=not address.loopback,  # a proxy cannot see this machine
            )
        except (ImportError, ValueError, OSError, httpx2.InvalidURL) as error:
            raise environment_fault(error) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._connection.close()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._connection.sleep(seconds)

    async def call(self, work: Callable[[], Result]) -> Result:
        """The result of `work`, which reads or hashes a file: other tasks go on meanwhile."""
        return await self._connection.call(work)

    async def send(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        body: Body = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | Literal["default"] | None = "default",
    ) -> httpx2.Response:
        """The answer, if it is below 400; raises a `BatchgradError` otherwise."""
        timeout = self.timeout if timeout == "default" else timeout
        failures = 0
        while True:
            cause: BatchgradError
            wait: float | None = None
            try:
                response = await self._once(method, path, params, body, headers, timeout)
            except REPEATABLE as error:
                cause = self.broken(error)
            else:
                if response.status_code < 400:
                    response.extensions[ORIGIN] = self.origin
                    return response
                cause = refusal(response)
                if response.status_code not in RETRIED_STATUSES:
                    raise cause
                wait = retry_after_seconds(response.headers.get("Retry-After"))
            failures += 1
            delay = self.retries.delay(failures, wait)
            if delay is None:
                raise cause
            await self.sleep(delay)

    async def answers(self, path: str) -> bool:
        """Whether the answer to a GET is 200; False without an answer. Never retries."""
        try:
            with _sendable():
                return (await self._connection.request("GET", path)).status_code == 200
        except (httpx2.TransportError, UnexpectedAnswer):
            return False

    async def send_json(self, method: str, path: str, body: Any, **more: Any) -> httpx2.Response:
        """`send` with a JSON body, which may contain numpy's numbers and arrays."""
        try:
            value = plain(body)
            text = json.dumps(value, allow_nan=False)
        except RecursionError as error:
            raise InvalidSpec("Nothing was sent: the value is nested too deep for JSON.") from error
        except TypeError as error:
            raise InvalidSpec(f"Nothing was sent: JSON cannot represent it: {error}.") from error
        except ValueError as error:
            where = nonfinite(value)
            message = str(error) if where is None else f"{where}; give finite numbers"
            raise InvalidSpec(f"Nothing was sent: JSON cannot represent it: {message}.") from error
        headers = {"Content-Type": "application/json", **more.pop("headers", {})}
        return await self.send(method, path, body=text.encode(), headers=headers, **more)

    @asynccontextmanager
    async def stream_events(self, path: str, last_event_id: int) -> AsyncIterator[EventStream]:
        """One connection to an event stream, from the event after an id; raises httpx2's errors."""
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if last_event_id > 0:
            headers["Last-Event-ID"] = str(last_event_id)
        timeout = _limits(self.timeout)
        timeout.read = STREAM_SILENCE_SECONDS
        opened = self._connection.events(path, headers=headers, timeout=timeout)
        with _sendable():
            async with opened as stream:
                if stream.response.status_code >= 400:
                    raise refusal(stream.response)
                yield stream

    async def _once(
        self,
        method: str,
        path: str,
        params: Params | None,
        body: Body,
        headers: Mapping[str, str] | None,
        timeout: float | None,
    ) -> httpx2.Response:
        if isinstance(body, Path):
            try:
                with body.open("rb") as file:  # opened anew for each attempt
                    return await self._request(method, path, params, file, headers, timeout)
            except OSError as error:
                raise FileFailed(f"{body} cannot be read: {error}.") from error
        return await self._request(method, path, params, body, headers, timeout)

    async def _request(
        self,
        method: str,
        path: str,
        params: Params | None,
        content: Content,
        headers: Mapping[str, str] | None,
        timeout: float | None,
    ) -> httpx2.Response:
        try:
            with _sendable():
                return await self._connection.request(
                    method,
                    path,
                    params={k: v for k, v in (params or {}).items() if v is not None},
                    content=content,
                    headers=headers,
                    timeout=_limits(timeout),
                )
        except REPEATABLE:
            raise
        except httpx2.TimeoutException as error:
            request = sent(error.request)
            raise Timeout(
                f"{request} had no answer in {timeout:g} s; the service may have carried it out. "
                "Send it again, with a longer timeout.",
                request=request,
            ) from error
        except httpx2.TransportError as error:
            raise self.broken(error) from error

    def broken(self, error: httpx2.TransportError) -> ConnectionFailed:
        """The error for a lost connection."""
        why = str(error) or type(error).__name__
        if self._proxy is not None:
            message = (
                f"No answer from {self.url} through the proxy {self._proxy} ({why}). Is the proxy "
                f"running, and the service? Unset {self._proxy.variable} if none is needed."
            )
        else:
            message = (
                f"No answer from {self.url} ({why}). Is the service running there? Start one with "
                "`batchgrad serve`, or set BATCHGRAD_URL."
            )
        return ConnectionFailed(message, request=sent(error.request))


def _limits(timeout: float | None) -> httpx2.Timeout:
    """A timeout for each part of a request; a connection comes soon, or not at all."""
    connect = CONNECT_SECONDS if timeout is None else min(CONNECT_SECONDS, timeout)
    return httpx2.Timeout(timeout, connect=connect)


@contextmanager
def _sendable() -> Iterator[None]:
    """Raise our own errors for a request that cannot be sent, or an answer that cannot be read.

    httpx2's TransportError passes.
    """
    try:
        yield
    except (httpx2.TransportError, httpx2.SSEError):
        raise
    except httpx2.HTTPError as error:
        raise UnexpectedAnswer(f"The answer cannot be read: {error}.") from error
    except (httpx2.InvalidURL, TypeError, ValueError, RuntimeError) as error:
        raise InvalidArgument(f"The request cannot be sent: {error}") from error


def _with_local_token(request: httpx2.Request) -> httpx2.Request:
    """The request with the token of a service that this user runs on this machine.

    Searched for each request: a service may have started or ended since the last one.
    """
    if os.name == "posix":
        from batchgrad.http import running_services  # noqa: PLC0415 (no locks of files elsewhere)

        url = request.url
        found = running_services.find(url.host, url.port or {"http": 80, "https": 443}[url.scheme])
        if found is not None:
            request.url = url.copy_with(host=found.address)
            request.headers["Authorization"] = f"Bearer {found.token}"
    return request
