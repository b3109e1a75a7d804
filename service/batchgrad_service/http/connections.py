"""Connections to the HTTP server: how many there are at once, and how long one may keep it waiting.

uvicorn alone holds one for ever that sends nothing, half a request, or does not read its answer.
"""

import resource
from collections.abc import Callable, Collection
from dataclasses import dataclass
from time import monotonic
from typing import Any

import h11
import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol

from batchgrad.contract import ProblemDetails

MOST_DESCRIPTORS = 65_536
OTHER_DESCRIPTORS = 256
"""What the service opens beside connections: the database, datasets, the pipes of questions."""

DESCRIPTORS_PER_JOB = 8
MOST_TURNED_AWAY = 64
"""How many more connections are told that there are too many; any beyond are dropped."""

_TOLD_SECONDS = 10.0
_log = structlog.stdlib.get_logger("batchgrad.http")


@dataclass(frozen=True)
class Patience:
    """How many seconds a connection may take for what the server waits for, before it is closed."""

    head: float = 10.0  # a request's whole head; between requests uvicorn waits 5 s for its start
    body: float = 30.0  # the next piece of a request's body
    answer: float = 60.0  # the client to read anything of its answer
    linger: float = 2.0  # the client to read an answer that came before its request's end


class Crowd:
    """The connections of one server: `most` are served, others get 503 and have to come again."""

    def __init__(
        self,
        most: int,
        patience: Patience = Patience(),
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.most = most
        self.patience = patience
        self.clock = clock
        self.turned_away = 0
        self._told_at: float | None = None

    def protocol(self, **given: Any) -> "Connection":
        """What uvicorn makes a connection with; it gives config, server_state and app_state."""
        return Connection(self, **given)

    def sweep(self, connections: Collection[Any]) -> None:
        """Close those of the server's `connections` that are over their time; once a second."""
        now = self.clock()
        for connection in list(connections):
            connection.close_if_late(now)

    def tell(self) -> None:
        """Say in the log, now and then, that connections are turned away."""
        now = self.clock()
        if self._told_at is None or now - self._told_at >= _TOLD_SECONDS:
            self._told_at = now
            _log.warning("too many connections: others get 503", connections=self.most)


class Connection(H11Protocol):
    """uvicorn's connection, which ends when its client keeps it waiting for too long."""

    def __init__(self, crowd: Crowd, **given: Any) -> None:
        super().__init__(**given)
        self._crowd = crowd
        self._turned_away = False
        self._moved = crowd.clock()  # when the client last did what was waited for
        self._unsent = 0
        self._sent = self._moved  # when `_unsent` last changed

    def connection_made(self, transport: Any) -> None:
        """Serve it, or say that there are too many."""
        if len(self.connections) < self._crowd.most:
            super().connection_made(_Lingering(transport, self._body_is_coming))  # type: ignore[arg-type]
            return
        self._turned_away = True
        self._crowd.turned_away += 1
        self._crowd.tell()
        if self._crowd.turned_away > MOST_TURNED_AWAY:
            transport.abort()
            return
        transport.write(_BUSY)
        transport.write_eof()
        self.loop.call_later(self._crowd.patience.linger, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        if self._turned_away:
            self._crowd.turned_away -= 1
        else:
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; only a whole head counts as progress, or any part of a body."""
        if self._turned_away or self.transport.lingering:  # type: ignore[attr-defined]
            return
        before = self.conn.their_state
        super().data_received(data)
        if before is not h11.IDLE or self.conn.their_state is not h11.IDLE:
            self._moved = self._crowd.clock()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._moved = self._crowd.clock()
        super().on_response_complete()

    def close_if_late(self, now: float) -> None:
        """Close the connection if its client has kept it waiting for too long."""
        patience, transport = self._crowd.patience, self.transport
        unsent = transport.get_write_buffer_size()
        if unsent != self._unsent:
            self._unsent, self._sent = unsent, now
        quiet = now - self._moved
        if unsent:
            if now - self._sent > patience.answer:
                transport.abort()
        elif transport.lingering:  # type: ignore[attr-defined]
            if quiet > patience.linger:
                transport.abort()
        elif self.conn.their_state is h11.IDLE and quiet > patience.head:
            if self.conn.trailing_data[0]:
                transport.write(_LATE)
            transport.close()
        elif self._body_is_coming() and not self.flow.read_paused and quiet > patience.body:
            transport.abort()

    def _body_is_coming(self) -> bool:
        return self.conn.their_state is h11.SEND_BODY


class _Lingering:
    """A transport that is closed gently while a request's body still comes.

    A plain close with bytes unread resets the connection, which may take the answer away from a
    client that is still sending. So it sends its end and reads on, for nothing, until the client
    has closed as well, or `Patience.linger` is over.
    """

    def __init__(self, transport: Any, body_is_coming: Callable[[], bool]) -> None:
        self.lingering = False
        self._transport = transport
        self._body_is_coming = body_is_coming

    def close(self) -> None:
        if self._body_is_coming() and not self.is_closing():
            self.lingering = True
            self._transport.write_eof()
            self._transport.resume_reading()
        else:
            self._transport.close()

    def is_closing(self) -> bool:
        return self.lingering or bool(self._transport.is_closing())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def most_connections(wanted: int, jobs: int) -> int:
    """`wanted`, or as many as the process may have beside its other files and `jobs` engines.

    The process's own limit of descriptors is raised as far as it may be.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ceiling = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft < ceiling:
        resource.setrlimit(resource.RLIMIT_NOFILE, (ceiling, hard))
        soft = ceiling
    others = OTHER_DESCRIPTORS + DESCRIPTORS_PER_JOB * jobs + MOST_TURNED_AWAY
    most = min(wanted, max(soft - others, soft // 2))
    if most < wanted:
        _log.warning("fewer connections than max_connections: raise ulimit -n", connections=most)
    return most


def _answer(status: int, title: str, code: str, detail: str, *headers: str) -> bytes:
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


_BUSY = _answer(
    503,
    "Service Unavailable",
    "too_many_connections",
    "As many connections are open as this service serves (max_connections): close some, or ask "
    "again in a moment.",
    "Retry-After: 2",
)
_LATE = _answer(
    408,
    "Request Timeout",
    "request_too_slow",
    "The request's head did not arrive in time: send it again.",
)
