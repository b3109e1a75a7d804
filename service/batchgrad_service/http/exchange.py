"""One request and its response: the status, the headers that every response has, the duration."""

from collections.abc import Callable

from starlette.types import Message, Send


class HeadResponseSentError(Exception):
    """A HEAD request's response is complete; ends the stream that would follow."""


class Exchange:
    """Sends a response, and records its status and duration. `is_head`: the method is HEAD."""

    def __init__(
        self, send: Send, request_id: str, clock: Callable[[], float], *, is_head: bool
    ) -> None:
        self.status: int | None = None
        self.is_head = is_head
        self.request_id = request_id
        self._send = send
        self._clock = clock
        self._started_at = clock()
        self._stream_began_at: float | None = None

    async def send(self, message: Message) -> None:
        """Send an ASGI message.

        Raises:
            HeadResponseSentError: the request is HEAD, and the rest of a stream is not needed.
        """
        if message["type"] == "http.response.start":
            own = {b"x-request-id": self.request_id.encode(), b"x-content-type-options": b"nosniff"}
            headers = [pair for pair in message.get("headers", ()) if pair[0] not in own]
            named = dict(headers)
            if b"cache-control" not in named:
                own[b"cache-control"] = b"no-store"  # most responses change at any time
            message = {**message, "headers": [*headers, *own.items()]}
            self.status = message["status"]
            if named.get(b"content-type", b"").startswith(b"text/event-stream"):
                self._stream_began_at = self._clock()
        if self.is_head and message.get("more_body"):
            await self._send({"type": "http.response.body"})
            raise HeadResponseSentError
        await self._send(message)

    def seconds(self) -> float:
        """Until the response ended; for an event stream, until it began."""
        ended_at = self._clock() if self._stream_began_at is None else self._stream_began_at
        return ended_at - self._started_at
