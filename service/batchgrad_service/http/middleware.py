"""The edge: what happens to every request before and after its route.

It gets an id and a log line, is timed, must mean this service and show the token, may not send too
much, and when its route breaks, it gets an answer that tells nothing but the id.
"""

import logging
import re
import secrets
import time
from collections.abc import Callable
from urllib.parse import urlencode

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from batchgrad_service.http.browser_session import Session, refuse_other_sites
from batchgrad_service.http.error_handlers import as_response, problem_response
from batchgrad_service.http.hosts import Hosts
from batchgrad_service.http.limits import Limit
from batchgrad_service.http.links import root_of
from batchgrad_service.problems import ProblemError, TooLargeError, UnauthorizedError
from batchgrad_workers.system.exhaustion import what_lacks

OPEN = frozenset({"/healthz", "/readyz", "/login"})
"""Answered without a token: who starts the service has to know when it is up."""

OPEN_BELOW = "/static/"
"""The page's files, which the login needs and which hold nothing of anybody's."""

WITH_OWN_SECRET = re.compile(r"/v1/jobs/[^/]+/dataset/[^/]+")
"""Asked by workers, which have their job's secret and never the token: see job_dataset.py."""

_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_log = structlog.stdlib.get_logger("batchgrad.http")
Observe = Callable[[str, str, int, float], None]
"""method, route template, status, seconds."""


class AccessMiddleware:
    """ASGI middleware, outermost. `limit_of` gives what a request's body may hold."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Hosts,
        session: Session | None,
        limit_of: Callable[[Scope], Limit],
        observe: Observe,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._app = app
        self._hosts = hosts
        self._session = session
        self._limit_of = limit_of
        self._observe = observe
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; anything but HTTP is passed on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _SANE_ID.fullmatch(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        exchange = _Exchange(send, request_id, self._clock, head=scope["method"] == "HEAD")
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._guarded(scope, headers, receive, exchange)
            except _HeadAnsweredError:
                pass
            except ClientDisconnect:
                if not exchange.head:
                    _log.info("client left", method=scope["method"], path=scope["path"])
            except Exception as error:  # noqa: BLE001 - the last line of defence; it is logged
                response = _broken(error, scope, request_id)
                if exchange.status is None:
                    await response(scope, receive, exchange.send)
            self._report(scope, exchange)

    async def _guarded(
        self, scope: Scope, headers: Headers, receive: Receive, exchange: "_Exchange"
    ) -> None:
        limit = self._limit_of(scope)
        try:
            self._hosts.check(headers.get("host", ""))
            refuse_other_sites(scope["method"], headers, self._hosts)
            self._check_token(scope, headers)
            if int(headers.get("content-length", "0")) > limit.bytes:
                raise _too_large(limit)
        except ProblemError as problem:
            response = _refusal(problem, scope, headers, exchange)
            if "transfer-encoding" in headers or headers.get("content-length", "0") != "0":
                response.headers["Connection"] = "close"  # nobody will read the body
            await response(scope, receive, exchange.send)
            return
        if not exchange.head:
            await self._app(scope, _bounded(receive, limit), exchange.send)
            return
        as_get = {**scope, "method": "GET"}  # RFC 9110, 9.3.2: the same but for the body
        try:
            await self._app(as_get, _bounded(receive, limit), exchange.send)
        finally:
            scope.update({key: as_get[key] for key in ("route", "path_params") if key in as_get})

    def _check_token(self, scope: Scope, headers: Headers) -> None:
        path = scope["path"]
        if self._session is None or path in OPEN or path.startswith(OPEN_BELOW):
            return
        if WITH_OWN_SECRET.fullmatch(path) or self._session.opens(headers.get("cookie", "")):
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        bears = scheme.lower() == "bearer" and given.strip() != ""
        if not bears or not self._session.fits(given, client_of(scope)):
            fact = "The token is not this service's" if bears else "This service asks for a token"
            raise UnauthorizedError(
                f"{fact}: send `Authorization: Bearer TOKEN` (clients: set BATCHGRAD_TOKEN).",
                headers={"WWW-Authenticate": "Bearer"},
            )

    def _report(self, scope: Scope, exchange: "_Exchange") -> None:
        if exchange.status is None:
            return
        route = getattr(scope.get("route"), "path", "unmatched")
        seconds = exchange.seconds()
        method = scope["method"] if exchange.status != 405 else "other"  # anybody may invent one
        self._observe(method, route, exchange.status, seconds)
        about = {"job_id": scope["path_params"]["job_id"]} if "{job_id}" in route else {}
        # Pollers would fill the log, and so would those who guess tokens.
        quiet = (method in {"GET", "HEAD"} and exchange.status < 400) or exchange.status == 429
        _log.log(
            logging.DEBUG if quiet else logging.INFO,
            "request",
            method=method,
            route=route,
            status=exchange.status,
            seconds=round(seconds, 4),
            **about,
        )


def client_of(scope: Scope) -> str:
    """The address that a request comes from."""
    client = scope.get("client")
    return str(client[0]) if client else "unknown"


def _broken(error: Exception, scope: Scope, request_id: str) -> Response:
    """What to say of an error that no route expects; the log has it."""
    about = {"method": scope["method"], "path": scope["path"]}
    if lacking := what_lacks(error):
        _log.warning("request failed", reason=f"the machine has no {lacking} left", **about)
        detail = f"The machine has no {lacking} left now: try again in a few seconds."
        headers = {"Retry-After": "2"}
        return problem_response(503, "machine_exhausted", detail, request_id, headers=headers)
    _log.error("request failed", exc_info=error, **about)
    detail = f"Something broke inside; the service's log has {request_id}."
    return problem_response(500, "internal_error", detail, request_id)


def _refusal(
    problem: ProblemError, scope: Scope, headers: Headers, exchange: "_Exchange"
) -> Response:
    """A problem; a person who has not shown the token yet is asked for it."""
    asks_for_page = scope["method"] == "GET" and "text/html" in headers.get("accept", "")
    if not (isinstance(problem, UnauthorizedError) and asks_for_page):
        return as_response(problem, exchange.request_id)
    query = scope["query_string"].decode("latin-1")
    there = urlencode({"next": scope["path"] + (f"?{query}" if query else "")})
    return RedirectResponse(f"{root_of(scope['path'])}login?{there}", 303)


class _HeadAnsweredError(Exception):
    """All that HEAD asks for was sent; the stream behind it ends here."""


class _Exchange:
    """One answer on its way out: its status, its id, and how long it took."""

    def __init__(
        self, send: Send, request_id: str, clock: Callable[[], float], *, head: bool
    ) -> None:
        self.status: int | None = None
        self.head = head
        self.request_id = request_id
        self._send = send
        self._clock = clock
        self._start = clock()
        self._first_byte: float | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self.request_id
            headers["X-Content-Type-Options"] = "nosniff"
            headers.setdefault("Cache-Control", "no-store")  # what it says may change at any time
            self.status = message["status"]
            if headers.get("content-type", "").startswith("text/event-stream"):
                self._first_byte = self._clock()
        if self.head and message.get("more_body"):  # a stream, which need not be read to its end
            await self._send({"type": "http.response.body"})
            raise _HeadAnsweredError
        await self._send(message)

    def seconds(self) -> float:
        """Until the answer's end; for an event stream, which lasts as its job does, its start."""
        end = self._clock() if self._first_byte is None else self._first_byte
        return end - self._start


def _bounded(receive: Receive, limit: Limit) -> Receive:
    received = 0

    async def bounded() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit.bytes:
            # Starlette's own class: FastAPI, which reads the body, lets only that one through.
            raise HTTPException(413, _too_large(limit).detail)
        return message

    return bounded


def _too_large(limit: Limit) -> TooLargeError:
    return TooLargeError(
        f"The body is longer than {limit.bytes} bytes, the most that is taken here: "
        f"{limit.remedy}.",
        headers={"Connection": "close"},
    )
