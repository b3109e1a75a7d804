"""Requests whose head has the same bytes as an earlier one of their connection.

Whoever polls sends the same head each time. It is parsed once, by h11. A repetition is answered
without h11 if the response is a plain one: of known length, complete in one part. For any other
response, and when more data arrives before the response, h11 is told of the request after all, and
everything goes on as if it had parsed it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import h11
from starlette.types import Message, Scope
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol, RequestResponseCycle

MAX_HEAD_BYTES = 4096
"""The longest head that is kept; each connection keeps one."""

_VALID_HEADERS = re.compile(
    rb"(?:[a-z0-9-]+: [!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?\r\n)+"
)
"""Stricter than HTTP, so that h11 decides about everything unusual."""

_WITHOUT_BODY = frozenset({204, 304})
_FRAMING = frozenset({b"connection", b"transfer-encoding"})


@dataclass(frozen=True)
class RepeatedHead:
    """A head as it arrived, and the ASGI scope that h11 and uvicorn made of it."""

    data: bytes
    scope: Scope

    @staticmethod
    def learned(connection: H11Protocol, data: bytes) -> "RepeatedHead | None":
        """The head `data`, which `connection` has just parsed; None if it is not a simple one.

        A simple one asks by GET, has no body, expects nothing and leaves the connection open.
        """
        simple = (
            len(data) <= MAX_HEAD_BYTES
            and connection.scope["method"] == "GET"
            and not connection.cycle.waiting_for_100_continue
            and connection.conn.their_state is h11.DONE
            and connection.conn.trailing_data == (b"", False)
        )
        return RepeatedHead(data, _copied(connection.scope)) if simple else None

    def fresh_scope(self, state: dict[str, Any]) -> Scope:
        """The scope of one request, which the application may change."""
        return {**_copied(self.scope), "state": state.copy()}


class RepeatedRequest(RequestResponseCycle):
    """A request that h11 does not know of, unless it must."""

    def __init__(self, head: bytes, **given: Any) -> None:
        super().__init__(**given)
        self.more_body = False
        self.message_event.set()
        self._head: bytes | None = head  # None: h11 knows of it
        self._start: Any = None  # the start of the response, which waits for its body

    @property
    def is_unknown(self) -> bool:
        """Whether the request has no complete response, and h11 does not know of it."""
        return self._head is not None and not self.response_complete

    def tell_h11(self) -> None:
        """Let h11 parse the request, unless it is complete."""
        if self._head is not None and not self.response_complete:
            self.conn.receive_data(self._head)
            self.conn.next_event()  # the request
            self.conn.next_event()  # its end
            self._head = None

    async def send(self, message: Any) -> None:
        """Send an ASGI message, by h11 unless the response is a plain one."""
        if self.disconnected:
            return
        may_be_plain = self.is_unknown and self.keep_alive and not self.access_log
        if may_be_plain and not self.flow.write_paused:
            if not self.response_started and _has_length(message):
                self.response_started = True
                self._start = message
                return
            if self._start is not None and self._send_plain(self._start, message):
                return
        await self._send_by_h11(message)

    def _send_plain(self, start: Message, message: Message) -> bool:
        """Send the whole response at once; False if it is not a plain one."""
        response = plain_response(start, message, self.default_headers)
        if response is None:
            return False
        self._start = None
        self.transport.write(response)
        self.response_complete = True
        self.message_event.set()
        self.on_response()
        return True

    async def _send_by_h11(self, message: Any) -> None:
        self.tell_h11()
        start, self._start = self._start, None
        if start is not None:
            self.response_started = False
            await super().send(start)
        await super().send(message)


def _copied(scope: Any) -> Scope:
    return {**scope, "headers": list(scope["headers"])}


def plain_response(
    start: Message, message: Message, default_headers: Iterable[tuple[bytes, bytes]]
) -> bytes | None:
    """The bytes of a response, those that h11 would write; None if it is not a plain one."""
    status, body = start["status"], message.get("body", b"")
    complete = message["type"] == "http.response.body" and not message.get("more_body")
    if not complete or status < 200 or status in _WITHOUT_BODY:
        return None
    headers = [*default_headers, *start["headers"]]
    lengths = [value for name, value in headers if name == b"content-length"]
    if lengths != [str(len(body)).encode()] or not _FRAMING.isdisjoint(dict(headers)):
        return None
    lines = b"".join([b"%s: %s\r\n" % pair for pair in headers])
    one_line_each = lines.count(b"\n") == len(headers)  # else a value would add a header
    if not one_line_each or _VALID_HEADERS.fullmatch(lines) is None:
        return None
    return b"HTTP/1.1 %d %s\r\n%s\r\n%s" % (status, STATUS_PHRASES[status], lines, body)


def _has_length(message: Message) -> bool:
    """Whether a message is the start of a response whose length is known.

    The start of others must not wait: a stream may have nothing to say for long.
    """
    begins = message["type"] == "http.response.start"
    return begins and b"content-length" in dict(message.get("headers", ()))
