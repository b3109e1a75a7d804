"""HTTP as this client speaks it: one request, sent again while that may help."""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx2

from batchgrad import __version__
from batchgrad.answers import refusal, sent
from batchgrad.errors import BatchgradError, ConnectionFailed, InvalidSpec, Timeout
from batchgrad.retries import RETRIED_STATUSES, Retries, retry_after_seconds

Body = bytes | Path | None
Params = Mapping[str, str | int | list[str] | None]

# The service had no chance to answer, or its answer was lost. Every request of this client may be
# repeated: POST /jobs carries an Idempotency-Key, the other POSTs change nothing the second time.
REPEATABLE = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.ReadError,
    httpx2.WriteError,
    httpx2.CloseError,
    httpx2.RemoteProtocolError,
)
# A stream is quiet between events, but the service sends a comment every few seconds.
STREAM_SILENCE_SECONDS = 60.0


class Session:
    """Sends requests to one service and turns what goes wrong into `batchgrad.errors`."""

    def __init__(
        self,
        url: str,
        token: str | None,
        *,
        timeout_seconds: float = 30.0,
        transport: httpx2.BaseTransport | None = None,
        retries: Retries | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url.rstrip("/")
        self.timeout_seconds = timeout_seconds
        self.retries = retries or Retries()
        self.sleep = sleep
        headers = {"User-Agent": f"batchgrad/{__version__}", "Accept": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._http = httpx2.Client(
            base_url=self.url,
            headers=headers,
            timeout=httpx2.Timeout(timeout_seconds, connect=min(5.0, timeout_seconds)),
            transport=transport,
            auth=None if token else _with_own_token,
            trust_env=not _is_loopback(_checked(self.url)),  # a proxy cannot see this machine
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        body: Body = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> httpx2.Response:
        """The answer, if it is below 400; raises a `BatchgradError` otherwise."""
        failures = 0
        while True:
            cause: BatchgradError
            wait: float | None = None
            try:
                response = self._once(method, path, params, body, headers, timeout_seconds)
            except REPEATABLE as error:
                cause = self.broken(error)
            else:
                if response.status_code < 400:
                    return response
                cause = refusal(response)
                if response.status_code not in RETRIED_STATUSES:
                    raise cause
                wait = retry_after_seconds(response.headers.get("Retry-After"))
            failures += 1
            delay = self.retries.delay(failures, wait)
            if delay is None:
                raise cause
            self.sleep(delay)

    def answers(self, path: str) -> bool:
        """Whether a GET is answered with 200, asked once; False too where nobody answers."""
        try:
            return self._http.get(path).status_code == 200
        except httpx2.TransportError:
            return False

    def send_json(self, method: str, path: str, body: Any, **more: Any) -> httpx2.Response:
        """`send` with a JSON body; arrays that know `tolist` (numpy's) are welcome."""
        try:
            text = json.dumps(body, allow_nan=False, default=_plain)
        except ValueError as error:
            raise InvalidSpec(f"Nothing was sent, JSON cannot say it: {error}.") from error
        headers = {"Content-Type": "application/json", **more.pop("headers", {})}
        return self.send(method, path, body=text.encode(), headers=headers, **more)

    @contextmanager
    def stream_events(self, path: str, last_event_id: int) -> Iterator[httpx2.EventSource]:
        """One connection to an event stream, going on after an id; raises httpx2's errors."""
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if last_event_id > 0:
            headers["Last-Event-ID"] = str(last_event_id)
        timeout = httpx2.Timeout(self.timeout_seconds, read=STREAM_SILENCE_SECONDS)
        with self._http.sse(path, headers=headers, timeout=timeout) as source:
            if source.response.status_code >= 400:
                source.response.read()
                raise refusal(source.response)
            yield source

    def _once(
        self,
        method: str,
        path: str,
        params: Params | None,
        body: Body,
        headers: Mapping[str, str] | None,
        timeout_seconds: float | None,
    ) -> httpx2.Response:
        if isinstance(body, Path):
            with body.open("rb") as file:  # opened anew for each attempt
                return self._request(method, path, params, file, headers, timeout_seconds)
        return self._request(method, path, params, body, headers, timeout_seconds)

    def _request(
        self,
        method: str,
        path: str,
        params: Params | None,
        content: Any,
        headers: Mapping[str, str] | None,
        timeout_seconds: float | None,
    ) -> httpx2.Response:
        try:
            return self._http.request(
                method,
                path,
                params={k: v for k, v in (params or {}).items() if v is not None},
                content=content,
                headers=headers,
                timeout=timeout_seconds or self._http.timeout,
            )
        except REPEATABLE:
            raise
        except httpx2.TimeoutException as error:
            request = sent(error.request)
            raise Timeout(
                f"{request} had no answer in {timeout_seconds or self.timeout_seconds:g} s; it may "
                "have been carried out. Ask again, or give the client a longer timeout.",
                request=request,
            ) from error
        except httpx2.TransportError as error:
            raise self.broken(error) from error

    def broken(self, error: httpx2.TransportError) -> ConnectionFailed:
        """What a lost connection means to whoever called."""
        return ConnectionFailed(
            f"No answer from {self.url} ({error or type(error).__name__}). Is the service running "
            "there? Start one with `batchgrad serve`, or set BATCHGRAD_URL.",
            request=sent(error.request),
        )


def _with_own_token(request: httpx2.Request) -> httpx2.Request:
    """The request with the token that a service of this user on this machine keeps in its file.

    Looked for at each request: a service may have started, or ended, since the last.
    """
    if os.name == "posix":
        from batchgrad import own_services  # noqa: PLC0415 (no locks of files elsewhere)

        url = request.url
        found = own_services.find(url.host, url.port or {"http": 80, "https": 443}[url.scheme])
        if found is not None:
            request.url = url.copy_with(host=found.address)
            request.headers["Authorization"] = f"Bearer {found.token}"
    return request


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not JSON: give numbers, lists or arrays.")


def _checked(url: str) -> httpx2.URL:
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise BatchgradError(f"The service's URL is {url!r}: {error}.") from error
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise BatchgradError(f"The service's URL is {url!r}; expected http://HOST:PORT.")
    return parsed


def _is_loopback(url: httpx2.URL) -> bool:
    try:
        return ip_address(url.host).is_loopback
    except ValueError:
        return url.host == "localhost"
