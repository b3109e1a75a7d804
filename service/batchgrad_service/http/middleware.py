"""AccessMiddleware: what happens to every request before and after its route.

Each request gets an id, a log line and a metric. It must name this service in Host, must not come
from another site, must have the token, and must not be too long. If its route raises an unexpected
exception, the response contains the id and no details.
"""

import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import urlencode

import structlog
from starlette.requests import ClientDisconnect
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from batchgrad_service.http.authenticator import Authenticator
from batchgrad_service.http.error_handlers import as_response, problem_response
from batchgrad_service.http.exchange import Exchange, HeadResponseSentError
from batchgrad_service.http.hosts import AllowedHosts, refuse_cross_site
from batchgrad_service.http.limits import BodyLimit, limited
from batchgrad_service.http.links import root_of
from batchgrad_service.problems import ProblemError, UnauthorizedError
from batchgrad_workers.system.exhaustion import exhausted_resource

PUBLIC_PATHS = frozenset({"/healthz", "/readyz", "/login", "/guide", "/why"})
"""Answered without a token: a supervisor of the service must see that it is up."""

PUBLIC_PREFIXES = ("/static/", "/guide/")
"""The pages' files, which the login page needs, and the guide; they hold no user's data."""

WORKER_PATHS = re.compile(r"/v1/jobs/[^/]+/datasets/[^/]+/[^/]+")
"""For workers, which have their job's secret and never the token: see job_dataset.py."""

_VALID_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_log = structlog.stdlib.get_logger("batchgrad.http")
Observe = Callable[[str, str, int, float], None]
"""Called with method, route template, status and seconds."""


class AccessMiddleware:
    """The outermost ASGI middleware. `limit_of` returns the limit of a request's body.

    Without an `authenticator` no token is needed.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: AllowedHosts,
        authenticator: Authenticator | None,
        limit_of: Callable[[Scope], BodyLimit],
        observe: Observe,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._app = app
        self._hosts = hosts
        self._authenticator = authenticator
        self._limit_of = limit_of
        self._observe = observe
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; pass on anything but HTTP."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = _first_of_each(scope["headers"])
        given = headers.get("x-request-id", "")
        request_id = given if _VALID_REQUEST_ID.fullmatch(given) else os.urandom(8).hex()
        scope.setdefault("state", {})["request_id"] = request_id
        exchange = Exchange(send, request_id, self._clock, is_head=scope["method"] == "HEAD")
        bound = structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            await self._answer_or_fail(scope, headers, receive, exchange)
            self._report(scope, exchange)
        finally:
            structlog.contextvars.reset_contextvars(**bound)

    async def _answer_or_fail(
        self, scope: Scope, headers: Mapping[str, str], receive: Receive, exchange: Exchange
    ) -> None:
        """Answer, with a problem if the route raises an exception that nobody expects."""
        try:
            await self._answer(scope, headers, receive, exchange)
        except HeadResponseSentError:
            pass
        except ClientDisconnect:
            if not exchange.is_head:
                _log.info("client disconnected", method=scope["method"], path=scope["path"])
        except Exception as error:  # noqa: BLE001 - the last handler; it logs the exception
            response = _unexpected(error, scope, exchange.request_id)
            if exchange.status is None:
                await response(scope, receive, exchange.send)

    async def _answer(
        self, scope: Scope, headers: Mapping[str, str], receive: Receive, exchange: Exchange
    ) -> None:
        limit = self._limit_of(scope)
        try:
            self._hosts.check(headers.get("host", ""))
            refuse_cross_site(scope["method"], headers, self._hosts)
            self._check_token(scope, headers)
            if int(headers.get("content-length", "0")) > limit.bytes:
                raise limit.error()
        except ProblemError as problem:
            response = _refusal(problem, scope, headers, exchange)
            if "transfer-encoding" in headers or headers.get("content-length", "0") != "0":
                response.headers["Connection"] = "close"  # the body stays unread
            await response(scope, receive, exchange.send)
            return
        if not exchange.is_head:
            await self._app(scope, limited(receive, limit), exchange.send)
            return
        as_get = {**scope, "method": "GET"}  # RFC 9110, 9.3.2: the same but for the body
        try:
            await self._app(as_get, limited(receive, limit), exchange.send)
        finally:
            scope.update({key: as_get[key] for key in ("route", "path_params") if key in as_get})

    def _check_token(self, scope: Scope, headers: Mapping[str, str]) -> None:
        path, auth = scope["path"], self._authenticator
        if auth is None or path in PUBLIC_PATHS or path.startswith(PUBLIC_PREFIXES):
            return
        if WORKER_PATHS.fullmatch(path) or auth.is_logged_in(headers.get("cookie", "")):
            return
        scheme, _, token = headers.get("authorization", "").partition(" ")
        has_token = scheme.lower() == "bearer" and token.strip() != ""
        if not has_token or not auth.token_matches(token, client_of(scope)):
            fault = "The token is wrong" if has_token else "The request has no token"
            raise UnauthorizedError(
                f"{fault}: send `Authorization: Bearer TOKEN` with this service's token (clients: "
                "set BATCHGRAD_TOKEN).",
                headers={"WWW-Authenticate": "Bearer"},
            )

    def _report(self, scope: Scope, exchange: Exchange) -> None:
        if exchange.status is None:
            return
        route = getattr(scope.get("route"), "path", "unmatched")
        seconds = exchange.seconds()
        # Clients can invent methods: an unknown one must not become a label of its own.
        method = scope["method"] if exchange.status != 405 else "other"
        self._observe(method, route, exchange.status, seconds)
        # Polling clients, pieces of files, and those that guess tokens would fill the log.
        often = method in {"GET", "HEAD", "PATCH"}
        quiet = (often and exchange.status < 400) or exchange.status == 429
        level = logging.DEBUG if quiet else logging.INFO
        if not _log.is_enabled_for(level):  # structlog would format the line, then drop it
            return
        about = {"job_id": scope["path_params"]["job_id"]} if "{job_id}" in route else {}
        _log.log(
            level,
            "request",
            method=method,
            route=route,
            status=exchange.status,
            seconds=round(seconds, 4),
            **about,
        )


def _first_of_each(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The headers by their names; of those with the same name, the first."""
    pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
    return dict(reversed(pairs))


def client_of(scope: Scope) -> str:
    """The address that a request comes from."""
    client = scope.get("client")
    return str(client[0]) if client else "unknown"


def _unexpected(error: Exception, scope: Scope, request_id: str) -> Response:
    """The response for an exception that no handler expects; logs the exception."""
    about = {"method": scope["method"], "path": scope["path"]}
    if lacking := exhausted_resource(error):
        _log.warning("request failed", reason=f"the machine has no {lacking} left", **about)
        detail = f"The machine has no {lacking} left: try again in a few seconds."
        headers = {"Retry-After": "2"}
        return problem_response(503, "machine_exhausted", detail, request_id, headers=headers)
    _log.error("request failed", exc_info=error, **about)
    detail = f"An internal error occurred; the service's log has it under request_id {request_id}."
    return problem_response(500, "internal_error", detail, request_id)


def _refusal(
    problem: ProblemError, scope: Scope, headers: Mapping[str, str], exchange: Exchange
) -> Response:
    """The problem as JSON; a browser without login is redirected to the login page."""
    asks_for_page = scope["method"] == "GET" and "text/html" in headers.get("accept", "")
    if not (isinstance(problem, UnauthorizedError) and asks_for_page):
        return as_response(problem, exchange.request_id)
    query = scope["query_string"].decode("latin-1")
    target = urlencode({"next": scope["path"] + (f"?{query}" if query else "")})
    return RedirectResponse(f"{root_of(scope['path'])}login?{target}", 303)
