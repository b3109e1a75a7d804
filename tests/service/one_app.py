"""A server of one ASGI app in a thread, on connections of the service, and the client's side."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from batchgrad_service.http.connections.connection import Connection, ConnectionLimit, Timeouts
from batchgrad_service.http.connections.repeated_heads import RepeatedRequest

TIMEOUT_SECONDS = 20.0
App = Callable[[Any, Any, Any], Any]


def head(path: str, *lines: str, method: str = "GET", version: str = "1.1") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/{version}", "Host: here", *lines, "", ""]).encode()


def start(*headers: tuple[bytes, bytes], status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(content: bytes = b"answer", **more: Any) -> dict[str, Any]:
    return {"type": "http.response.body", "body": content, **more}


async def echo(scope: Any, _receive: Any, send: Any) -> None:
    """Answer the request's path and query."""
    text = scope["path"].encode() + b"?" + scope["query_string"]
    await send(start((b"content-length", str(len(text)).encode())))
    await send(body(text))


@dataclass
class Serving:
    """A server in a thread."""

    server: uvicorn.Server
    now: list[float]
    opened: list[socket.socket] = field(default_factory=list)

    def connect(self) -> socket.socket:
        port = self.server.servers[0].sockets[0].getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS)
        self.opened.append(client)
        return client

    def leave(self) -> None:
        for client in self.opened:
            client.close()

    @property
    def connection(self) -> Connection:
        """The only connection."""
        until(lambda: len(self.server.server_state.connections) == 1)
        [found] = self.server.server_state.connections
        assert isinstance(found, Connection)
        return found

    @property
    def repeats(self) -> bool:
        """Whether the newest request was not parsed."""
        return isinstance(self.connection.cycle, RepeatedRequest)


@contextmanager
def served(app: App) -> Iterator[Serving]:
    """Serve the app while the block runs."""
    now = [0.0]
    limit = ConnectionLimit(10, Timeouts(), lambda: now[0])
    http: Any = limit.protocol
    server = uvicorn.Server(
        uvicorn.Config(
            app, http=http, port=0, log_config=None, access_log=False, lifespan="off",
            ws="none", date_header=False, server_header=False,
        )
    )  # fmt: skip
    serving = Serving(server, now)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started)
        yield serving
    finally:
        serving.leave()
        server.should_exit = True
        thread.join()


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def response(client: socket.socket) -> bytes:
    """One response, or all until the connection's end if that comes first."""
    found = b""
    while not _complete(found):
        data = client.recv(65536)
        if not data:
            return found + b"(end)"
        found += data
    return found


def _complete(found: bytes) -> bool:
    top, blank, rest = found.partition(b"\r\n\r\n")
    if not blank:
        return False
    if re.match(rb"HTTP/1.1 (204|304)", top):
        return True
    if b"chunked" in top:
        return rest.endswith(b"0\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", top)
    return length is not None and len(rest) >= int(length[1])
