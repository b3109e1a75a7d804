"""Limit the number of HTTP connections and how long a client may keep one waiting.

uvicorn alone keeps a connection for ever if its client sends nothing, sends half a request, or
does not read the response.
"""

import asyncio
import resource
from collections.abc import Callable, Collection
from dataclasses import dataclass
from time import monotonic
from typing import Any, cast

import h11
import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from batchgrad.contract import ProblemDetails
from batchgrad_service.http.connections.repeated_heads import RepeatedHead, RepeatedRequest

MAX_DESCRIPTORS = 65_536
OTHER_DESCRIPTORS = 256
"""Descriptors that the service needs beside connections: database, datasets, pipes."""

DESCRIPTORS_PER_JOB = 8
MAX_REJECTED = 64
"""Connections that wait for their 503 at the same time; any further one is dropped."""

_WARNING_INTERVAL_SECONDS = 10.0
_BETWEEN_REQUESTS = {h11.CLIENT: h11.IDLE, h11.SERVER: h11.IDLE}
_log = structlog.stdlib.get_logger("batchgrad.http")


@dataclass(frozen=True)
class Timeouts:
    """Seconds that the server waits for a client before it closes the connection."""

    head: float = 10.0  # the complete head of a request; between requests uvicorn waits 5 s
    body: float = 30.0  # the next part of a request's body
    response: float = 60.0  # the client reads any part of the response
    drain: float = 2.0  # the client reads a response that was sent before its request's end


class ConnectionLimit:
    """The connections of one server: `limit` of them are served, others get 503."""

    def __init__(
        self,
        limit: int,
        timeouts: Timeouts = Timeouts(),
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.limit = limit
        self.timeouts = timeouts
        self.clock = clock
        self.rejected = 0
        self._warned_at: float | None = None

    def protocol(self, **given: Any) -> "Connection":
        """Uvicorn's protocol factory; uvicorn gives config, server_state and app_state."""
        return Connection(self, **given)

    def close_overdue(self, connections: Collection[Any]) -> None:
        """Close those of the server's `connections` that exceed a timeout; call once a second."""
        now = self.clock()
        for connection in list(connections):
            connection.close_if_overdue(now)

    def warn(self) -> None:
        """Log that connections are rejected, at most every 10 seconds."""
        now = self.clock()
        if self._warned_at is None or now - self._warned_at >= _WARNING_INTERVAL_SECONDS:
            self._warned_at = now
            _log.warning("too many connections; further ones get 503", max_connections=self.limit)


class Connection(H11Protocol):
    """uvicorn's connection with timeouts; a repeated head is not parsed again."""

    def __init__(self, limit: ConnectionLimit, **given: Any) -> None:
        super().__init__(**given)
        self._limit = limit
        self._rejected = False
        self._progressed_at = limit.clock()  # when the client last sent what the server waits for
        self._unsent = 0
        self._unsent_changed_at = self._progressed_at
        self._repeated: RepeatedHead | None = None

    def connection_made(self, transport: Any) -> None:
        """Serve the connection, or reject it with 503."""
        if len(self.connections) < self._limit.limit:
            super().connection_made(_DrainingTransport(transport, self._body_is_coming))  # type: ignore[arg-type]
            return
        self._rejected = True
        self._limit.rejected += 1
        self._limit.warn()
        if self._limit.rejected > MAX_REJECTED:
            transport.abort()
            return
        transport.write(_TOO_MANY_CONNECTIONS)
        transport.write_eof()
        self.loop.call_later(self._limit.timeouts.drain, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the connection from the count."""
        if self._rejected:
            self._limit.rejected -= 1
        else:
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass data on. Progress is a complete head, or any part of a body."""
        if self._rejected or self.transport.draining:  # type: ignore[attr-defined]
            return
        idle = self._is_idle()
        if idle and self._repeated is not None and data == self._repeated.data:
            self._repeat(self._repeated)
        else:
            self._parse(data, idle=idle)

    def _parse(self, data: bytes, *, idle: bool) -> None:
        """Let h11 parse `data`. `idle`: nothing is answered, and no part of a request has come."""
        before, cycle = self.conn.their_state, self.cycle
        if isinstance(cycle, RepeatedRequest):
            cycle.tell_h11()
        super().data_received(data)
        if before is not h11.IDLE or self.conn.their_state is not h11.IDLE:
            self._progressed_at = self._limit.clock()
        if idle and self.cycle is not cycle:
            self._repeated = RepeatedHead.learned(self, data)

    def _repeat(self, head: RepeatedHead) -> None:
        """Begin a request as uvicorn does, without parsing its head."""
        self._progressed_at = self._limit.clock()
        self._unset_keepalive_if_required()
        scope: Any = head.fresh_scope(self.app_state)
        self.scope, self.headers = scope, scope["headers"]
        self.cycle = RepeatedRequest(
            head.data,
            scope=scope,
            conn=self.conn,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            on_response=self.on_response_complete,
        )
        self.tasks.add(self.loop.create_task(self._run(self.cycle)))

    async def _run(self, cycle: RequestResponseCycle) -> None:
        """Run the application for a request; a callback of its task would wake the loop again."""
        try:
            await cycle.run_asgi(self.app)
        finally:
            self.tasks.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    def _is_idle(self) -> bool:
        """Whether the connection waits for the first byte of a request."""
        return (
            self.conn.states == _BETWEEN_REQUESTS
            and self.conn.trailing_data == (b"", False)
            and (self.cycle is None or self.cycle.response_complete)
        )

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._progressed_at = self._limit.clock()
        super().on_response_complete()

    def close_if_overdue(self, now: float) -> None:
        """Close the connection if its client exceeds a timeout."""
        timeouts, transport = self._limit.timeouts, self.transport
        unsent = transport.get_write_buffer_size()
        if unsent != self._unsent:
            self._unsent, self._unsent_changed_at = unsent, now
        waited = now - self._progressed_at
        if unsent:
            if now - self._unsent_changed_at > timeouts.response:
                transport.abort()
        elif transport.draining:  # type: ignore[attr-defined]
            if waited > timeouts.drain:
                transport.abort()
        elif self._waits_for_a_head() and waited > timeouts.head:
            if self.conn.trailing_data[0]:
                transport.write(_REQUEST_TOO_SLOW)
            transport.close()
        elif self._body_is_coming() and not self.flow.read_paused and waited > timeouts.body:
            transport.abort()

    def _waits_for_a_head(self) -> bool:
        answers = isinstance(self.cycle, RepeatedRequest) and self.cycle.is_unknown
        return self.conn.their_state is h11.IDLE and not answers

    def _body_is_coming(self) -> bool:
        return self.conn.their_state is h11.SEND_BODY


class _DrainingTransport:
    """A transport that, while a request's body still arrives, closes its sending side first.

    Closing a socket with unread bytes resets the connection, and a client that is still sending
    may lose the response. So the transport sends its end, then reads and discards until the client
    closes too, or for `Timeouts.drain` seconds.
    """

    def __init__(self, transport: Any, body_is_coming: Callable[[], bool]) -> None:
        self.draining = False
        self.write = transport.write  # the method most called, without __getattr__
        self._transport = transport
        self._body_is_coming = body_is_coming

    def close(self) -> None:
        if self._body_is_coming() and not self.is_closing():
            self.draining = True
            self._transport.write_eof()
            self._transport.resume_reading()
        else:
            self._transport.close()

    def is_closing(self) -> bool:
        return self.draining or bool(self._transport.is_closing())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def allowed_connections(wanted: int, jobs: int) -> int:
    """`wanted`, or fewer if the process may not open enough files beside those of `jobs` engines.

    Raises the process's soft limit of descriptors to its hard limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ceiling = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft < ceiling:
        resource.setrlimit(resource.RLIMIT_NOFILE, (ceiling, hard))
        soft = ceiling
    others = OTHER_DESCRIPTORS + DESCRIPTORS_PER_JOB * jobs + MAX_REJECTED
    allowed = min(wanted, max(soft - others, soft // 2))
    if allowed < wanted:
        _log.warning(
            "the limit of open files allows fewer connections than max_connections; "
            "raise it with `ulimit -n`",
            max_connections=wanted,
            allowed=allowed,
        )
    return allowed


def _response(status: int, title: str, code: str, detail: str, *headers: str) -> bytes:
    problem = ProblemDetails(
        title=title, status=status, code=code, detail=detail, errors=[], request_id=None
    )
    body = problem.model_dump_json().encode()
    head = [
        f"HTTP/1.1 {status} {title}",
        "Content-Type: application/problem+json",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *headers,
    ]
    return "\r\n".join([*head, "", ""]).encode() + body


_TOO_MANY_CONNECTIONS = _response(
    503,
    "Service Unavailable",
    "too_many_connections",
    "The service already has as many open connections as it allows (max_connections): close some, "
    "or try again in 2 seconds.",
    "Retry-After: 2",
)
_REQUEST_TOO_SLOW = _response(
    408,
    "Request Timeout",
    "request_too_slow",
    "The head of the request did not arrive within 10 seconds: send the request again.",
)
