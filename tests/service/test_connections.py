"""Slow connections are closed, and connections beyond the limit are rejected."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import h11
import pytest
import uvicorn

from batchgrad_service.http.connections.connection import (
    Connection,
    ConnectionLimit,
    allowed_connections,
)
from tests.service.one_app import TIMEOUT_SECONDS, until

HEAD = b"GET / HTTP/1.1\r\nHost: here\r\n"
POST = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 1000000000\r\n\r\n"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Read a body to its end; answer 401 to /refused, and endlessly to /endless."""
    path = scope["path"]
    if path == "/":
        while (message := await receive()).get("more_body"):
            pass
        if message["type"] == "http.disconnect":
            return
    status, headers = (401, [(b"connection", b"close")]) if path == "/refused" else (200, [])
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for _ in range(1000 if path == "/endless" else 0):
        await send({"type": "http.response.body", "body": b"x" * 2**20, "more_body": True})
    await send({"type": "http.response.body", "body": b"answer"})


class Server(uvicorn.Server):
    def __init__(self, limit: ConnectionLimit) -> None:
        http: Any = limit.protocol
        super().__init__(
            uvicorn.Config(app, http=http, port=0, log_config=None, lifespan="off", ws="none")
        )
        self._limit = limit
        self.checks = 0

    async def on_tick(self, counter: int) -> bool:
        self._limit.close_overdue(self.server_state.connections)
        self.checks += 1
        return await super().on_tick(counter)


@dataclass
class Serving:
    """A server whose clock the test advances."""

    server: Server
    now: list[float]
    opened: list[socket.socket] = field(default_factory=list)

    def connect(self, *sent: bytes) -> socket.socket:
        wanted = min(len(self.connections) + 1, self.server._limit.limit)
        port = self.server.servers[0].sockets[0].getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS)
        self.opened.append(client)
        until(lambda: len(self.connections) >= wanted)
        for data in sent:
            client.sendall(data)
        return client

    @property
    def connections(self) -> list[Connection]:
        return [
            each for each in self.server.server_state.connections if isinstance(each, Connection)
        ]

    def advance(self, seconds: float) -> None:
        self.now[0] += seconds
        before = self.server.checks
        until(lambda: self.server.checks >= before + 2)

    def leave(self) -> None:
        for client in self.opened:
            client.close()


@pytest.fixture
def serve() -> Iterator[Callable[[int], Serving]]:
    with ExitStack() as stack:

        def start(most: int) -> Serving:
            now = [0.0]
            serving = Serving(Server(ConnectionLimit(most, clock=lambda: now[0])), now)
            thread = threading.Thread(target=serving.server.run)
            thread.start()
            stack.callback(thread.join)
            stack.callback(setattr, serving.server, "should_exit", True)
            stack.callback(serving.leave)
            until(lambda: serving.server.started)
            return serving

        yield start


def everything(client: socket.socket) -> bytes:
    """Read all bytes until the server closes the connection."""
    found = b""
    while data := client.recv(65536):
        found += data
    return found


def is_open(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    finally:
        client.settimeout(TIMEOUT_SECONDS)


def test_a_head_must_arrive_in_time(serve: Callable[[int], Serving]) -> None:
    serving = serve(10)
    silent, half = serving.connect(), serving.connect(HEAD)
    until(lambda: any(each.conn.trailing_data[0] for each in serving.connections))
    serving.advance(8)
    assert is_open(silent)
    half.sendall(b"X-More: and more\r\n")  # does not help
    assert is_open(half)
    serving.advance(3)
    assert everything(silent) == b""
    assert everything(half).startswith(b"HTTP/1.1 408 Request Timeout")
    assert everything(serving.connect(HEAD + b"Connection: close\r\n\r\n")).endswith(
        b"answer\r\n0\r\n\r\n"
    )


def test_a_body_must_keep_arriving(serve: Callable[[int], Serving]) -> None:
    serving = serve(10)
    client = serving.connect(POST)
    [connection] = serving.connections
    until(lambda: connection.conn.their_state is h11.SEND_BODY)
    serving.advance(25)
    client.sendall(b"more")
    until(lambda: connection._progressed_at == serving.now[0])
    serving.advance(25)
    assert is_open(client)
    serving.advance(10)
    until(lambda: not serving.connections)
    assert not is_open(client)


def test_a_response_must_be_read(serve: Callable[[int], Serving]) -> None:
    serving = serve(10)
    serving.connect(b"GET /endless HTTP/1.1\r\nHost: here\r\n\r\n")
    [connection] = serving.connections
    until(lambda: connection.flow.write_paused)
    assert connection.transport.get_write_buffer_size() < 3 * 2**20
    serving.advance(50)
    assert serving.connections
    serving.advance(61)
    until(lambda: not serving.connections)


def test_connections_beyond_the_limit_get_503(serve: Callable[[int], Serving]) -> None:
    serving = serve(2)
    first, _ = serving.connect(), serving.connect()
    refused = serving.connect()
    head, _, body = everything(refused).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable")
    assert b"Retry-After: 2" in head
    assert json.loads(body)["code"] == "too_many_connections"
    first.close()
    until(lambda: len(serving.connections) == 1)
    assert b"200 OK" in everything(serving.connect(HEAD + b"Connection: close\r\n\r\n"))


def test_a_client_that_still_sends_gets_its_response(serve: Callable[[int], Serving]) -> None:
    serving = serve(10)
    client = serving.connect(POST.replace(b" / ", b" /refused "))
    for _ in range(20):
        client.sendall(b"x" * 2**20)  # a plain close would reset the connection meanwhile
    found = b""
    while not found.endswith(b"0\r\n\r\n"):
        found += client.recv(65536)
    assert found.startswith(b"HTTP/1.1 401 Unauthorized")
    assert client.recv(1) == b""
    serving.advance(3)
    until(lambda: not serving.connections)


def test_connections_leave_descriptors_for_others() -> None:
    assert allowed_connections(100, 4) == 100
    assert 0 < allowed_connections(10**9, 4) < 65_536 - 256
