"""Repeated heads are not parsed again, and answered with the same bytes as parsed ones."""

import asyncio
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import h11
import pytest
import uvicorn
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES

from batchgrad_service.http.connections.connection import Connection, ConnectionLimit, Timeouts
from batchgrad_service.http.connections.repeated_heads import (
    MAX_HEAD_BYTES,
    RepeatedRequest,
    plain_response,
)

TIMEOUT_SECONDS = 20.0
LENGTH = (b"content-length", b"6")
App = Callable[[Any, Any, Any], Any]


def head(path: str, *lines: str, method: str = "GET", version: str = "1.1") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/{version}", "Host: here", *lines, "", ""]).encode()


def sends(*messages: dict[str, Any]) -> App:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    return app


def start(*headers: tuple[bytes, bytes], status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(content: bytes = b"answer", **more: Any) -> dict[str, Any]:
    return {"type": "http.response.body", "body": content, **more}


async def broken(_scope: Any, _receive: Any, _send: Any) -> None:
    raise ValueError("on purpose")


async def broken_later(_scope: Any, _receive: Any, send: Any) -> None:
    await send(start(LENGTH))
    raise ValueError("on purpose")


async def reads(scope: Any, receive: Any, send: Any) -> None:
    """Answer what was received, in a scope that is the application's own."""
    message = await receive()
    scope["headers"].append((b"mine", b"1"))
    scope["state"]["mine"] = 1
    text = f"{message} {len(scope['headers'])} {scope['state']} {scope.get('seen')}".encode()
    scope["seen"] = True
    await send(start((b"content-length", str(len(text)).encode())))
    await send(body(text))


APPS: dict[str, App] = {
    "plain": sends(start(LENGTH, (b"x-a", b"a b")), body()),
    "refusal": sends(start(LENGTH, status=404), body()),
    "empty": sends(start((b"content-length", b"0")), body(b"")),
    "odd-status": sends(start(LENGTH, status=299), body()),
    "no-content": sends(start(status=204), body(b"")),
    "not-modified": sends(start(LENGTH, status=304), body(b"")),
    "no-length": sends(start(), body()),
    "stream": sends(start(), body(more_body=True), body(b"end")),
    "parts": sends(start(LENGTH), body(b"ans", more_body=True), body(b"wer")),
    "chunked": sends(start((b"transfer-encoding", b"chunked")), body()),
    "both": sends(start(LENGTH, (b"transfer-encoding", b"chunked")), body()),
    "closes": sends(start(LENGTH, (b"connection", b"close")), body()),
    "keeps": sends(start(LENGTH, (b"connection", b"keep-alive")), body()),
    "short": sends(start(LENGTH), body(b"answ")),
    "long": sends(start(LENGTH), body(b"answers")),
    "twice": sends(start(LENGTH, LENGTH), body()),
    "two-lengths": sends(start(LENGTH, (b"content-length", b"7")), body()),
    "split": sends(start(LENGTH, (b"x-a", b"a\r\nx-b: b")), body()),
    "split-name": sends(start(LENGTH, (b"x-a: a\r\nx-b", b"b")), body()),
    "blank": sends(start(LENGTH, (b"x-a", b" a")), body()),
    "no-value": sends(start(LENGTH, (b"x-a", b"")), body()),
    "upper-case": sends(start(LENGTH, (b"X-A", b"a")), body()),
    "no-body": sends(start(LENGTH)),
    "no-response": sends(),
    "two-starts": sends(start(LENGTH), start(LENGTH), body()),
    "two-bodies": sends(start(LENGTH), body(), body()),
    "reads": reads,
    "broken": broken,
    "broken-later": broken_later,
}

FAIL_LATER = {"broken-later", "no-body", "two-starts", "long", "short"}


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


@pytest.fixture
def serve() -> Iterator[Callable[[App], Serving]]:
    with ExitStack() as stack:

        def begin(app: App) -> Serving:
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
            stack.callback(thread.join)
            stack.callback(setattr, server, "should_exit", True)
            stack.callback(serving.leave)
            until(lambda: server.started)
            return serving

        yield begin


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


def test_a_repeated_request_has_the_response_of_a_parsed_one(
    serve: Callable[[App], Serving],
) -> None:
    names: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await APPS[names.pop(0)](scope, receive, send)

    serving = serve(app)
    for name in APPS:
        names[:] = ["plain", name, "plain"]
        client = serving.connect()
        client.sendall(head("/"))
        plain = response(client)
        connection = serving.connection
        client.sendall(head("/"))
        repeated = response(client)
        assert isinstance(connection.cycle, RepeatedRequest), name
        if name == "two-bodies":  # uvicorn ends the connection after the first
            assert response(client) == b"(end)"
        elif not re.search(rb"connection: close|\(end\)$", repeated):
            client.sendall(head("/"))
            assert response(client) == plain, name
            assert isinstance(connection.cycle, RepeatedRequest), name
        client.close()
        until(lambda: not serving.server.server_state.connections)
        names[:] = [name]
        other = serving.connect()
        other.sendall(head("/"))
        parsed = response(other)
        other.close()
        until(lambda: not serving.server.server_state.connections)
        if name in FAIL_LATER:
            # uvicorn has sent the start of such a response; it need not be sent.
            assert parsed.endswith(b"(end)"), name
            assert repeated.endswith(b"(end)"), name
            assert parsed.startswith(repeated.removesuffix(b"(end)")), name
        else:
            assert repeated == parsed, name


@pytest.mark.parametrize(
    "request_",
    [
        head("/", method="POST"),
        head("/", "Content-Length: 3", method="POST") + b"abc",
        head("/", "Connection: close"),
        head("/", version="1.0"),
        head("/", "Expect: 100-continue"),
        head("/", "Connection: upgrade", "Upgrade: h2c"),
        head("/", "X-Long: " + "x" * MAX_HEAD_BYTES),
        head("/", method="HEAD"),
    ],
)
def test_other_requests_are_parsed_each_time(
    serve: Callable[[App], Serving], request_: bytes
) -> None:
    serving = serve(APPS["plain"])
    client = serving.connect()
    connection = serving.connection
    ending = b"\r\n\r\n" if request_.startswith(b"HEAD") else b"answer"
    for _ in range(1 if b"close" in request_ or b"HTTP/1.0" in request_ else 2):
        client.sendall(request_)
        found = b""
        while not found.endswith(ending):
            found += client.recv(65536)
        assert not isinstance(connection.cycle, RepeatedRequest)
        assert connection._repeated is None


async def echo(scope: Any, _receive: Any, send: Any) -> None:
    """Answer the request's path and query."""
    text = scope["path"].encode() + b"?" + scope["query_string"]
    await send(start((b"content-length", str(len(text)).encode())))
    await send(body(text))


def test_another_head_is_another_request(serve: Callable[[App], Serving]) -> None:
    serving = serve(echo)
    client = serving.connect()
    for path in ("/a", "/a", "/b", "/a", "/a?b", "/a?b", "/a?c", "/a?c"):
        client.sendall(head(path))
        assert response(client).endswith(b"\r\n\r\n" + path.encode() + b"?"[: "?" not in path])
    assert serving.repeats


def test_a_known_head_inside_another_one_is_no_head(serve: Callable[[App], Serving]) -> None:
    serving = serve(echo)
    client = serving.connect()
    client.sendall(head("/a"))
    assert response(client).endswith(b"/a?")
    client.sendall(head("/b")[:-2])
    until(lambda: serving.connection.conn.trailing_data[0] != b"")
    client.sendall(head("/a"))  # its first line is no header of /b
    assert response(client).startswith(b"HTTP/1.1 400")


def test_the_end_of_a_head_is_not_learned(serve: Callable[[App], Serving]) -> None:
    serving = serve(echo)
    client = serving.connect()
    client.sendall(head("/a")[:9])
    until(lambda: serving.connection.conn.trailing_data[0] != b"")
    client.sendall(head("/a")[9:])
    assert response(client).endswith(b"/a?")
    client.sendall(head("/a")[9:])
    assert response(client).startswith(b"HTTP/1.1 400")


def test_each_request_has_a_scope_of_its_own(serve: Callable[[App], Serving]) -> None:
    serving = serve(reads)
    client = serving.connect()
    answers = set()
    for _ in range(4):
        client.sendall(head("/a"))
        answers.add(response(client))
    assert serving.repeats
    assert len(answers) == 1


@pytest.mark.parametrize("second", [head("/a") + head("/b"), head("/slow")])
def test_pipelined_requests_are_answered_in_order(
    serve: Callable[[App], Serving], second: bytes
) -> None:
    go = threading.Event()
    go.set()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/slow":
            await asyncio.to_thread(go.wait, TIMEOUT_SECONDS)
        await echo(scope, receive, send)

    serving = serve(slow)
    client = serving.connect()
    client.sendall(head("/slow"))
    assert response(client).endswith(b"/slow?")
    go.clear()
    client.sendall(head("/slow"))
    until(lambda: serving.repeats)
    client.sendall(second)
    until(lambda: serving.connection.conn.their_state is h11.DONE)
    time.sleep(0.1)  # an answer that overtakes would come now
    go.set()
    found = b""
    while len(answers := re.findall(rb"\r\n\r\n(/\w+\?)", found)) < 1 + second.count(b"GET"):
        found += client.recv(65536)
    assert answers == [
        b"/slow?",
        *re.findall(rb"(?<=GET )\S+", second.replace(b" HTTP", b"? HTTP")),
    ]


def test_a_slow_response_is_waited_for(serve: Callable[[App], Serving]) -> None:
    go = threading.Event()
    go.set()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.to_thread(go.wait, TIMEOUT_SECONDS)
        await echo(scope, receive, send)

    serving = serve(slow)
    client = serving.connect()
    client.sendall(head("/a"))
    response(client)
    go.clear()
    client.sendall(head("/a"))
    until(lambda: serving.repeats)
    connection = serving.connection
    connection.close_if_overdue(serving.now[0] + 1000)
    assert not connection.transport.is_closing()
    go.set()
    assert response(client).endswith(b"/a?")
    serving.server.servers[0].get_loop().call_soon_threadsafe(
        connection.close_if_overdue, serving.now[0] + 1000
    )
    assert client.recv(1) == b""  # now it waits for a head


def test_a_stream_begins_before_its_first_part(serve: Callable[[App], Serving]) -> None:
    go = threading.Event()

    async def stream(_scope: Any, _receive: Any, send: Any) -> None:
        await send(start((b"content-type", b"text/event-stream")))
        await asyncio.to_thread(go.wait, 2 * TIMEOUT_SECONDS)
        await send(body(b"end"))

    serving = serve(stream)
    client = serving.connect()
    go.set()
    client.sendall(head("/"))
    response(client)
    go.clear()
    client.sendall(head("/"))
    assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream")
    assert serving.repeats
    go.set()
    found = b""
    while not found.endswith(b"0\r\n\r\n"):
        found += client.recv(65536)
    assert found == b"3\r\nend\r\n0\r\n\r\n"


def test_a_client_that_leaves_is_noticed(serve: Callable[[App], Serving]) -> None:
    seen: list[str] = []

    async def waits(scope: Any, receive: Any, send: Any) -> None:
        while seen and seen[-1] != "http.disconnect":
            seen.append((await receive())["type"])
        seen.append("answered")
        await echo(scope, receive, send)

    serving = serve(waits)
    client = serving.connect()
    client.sendall(head("/a"))
    response(client)
    client.sendall(head("/a"))
    until(lambda: "http.request" in seen)
    assert serving.repeats
    client.close()
    until(lambda: seen[-1] == "answered" and not serving.server.server_state.tasks)
    assert seen == ["answered", "http.request", "http.disconnect", "answered"]


def test_a_stop_waits_for_the_response(serve: Callable[[App], Serving]) -> None:
    go = threading.Event()
    go.set()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.to_thread(go.wait, TIMEOUT_SECONDS)
        await echo(scope, receive, send)

    serving = serve(slow)
    client = serving.connect()
    client.sendall(head("/a"))
    response(client)
    go.clear()
    client.sendall(head("/a"))
    until(lambda: serving.repeats)
    connection = serving.connection
    connection.timeout_keep_alive = 1000
    serving.server.should_exit = True
    until(lambda: not connection.cycle.keep_alive)
    go.set()
    assert response(client).endswith(b"/a?")
    assert client.recv(1) == b""


def test_a_plain_response_has_the_bytes_of_h11() -> None:
    headers = [(b"content-length", b"6"), (b"x-a", b"a \t b"), (b"x-b", b"\xff"), (b"x-a", b"c")]
    defaults = [(b"date", b"now")]
    for status in (200, 201, 299, 404, 421, 500, 599):
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(head("/"))
        connection.next_event()
        reason = STATUS_PHRASES[status]
        found = connection.send(
            h11.Response(status_code=status, headers=defaults + headers, reason=reason)
        )
        found = (found or b"") + (connection.send(h11.Data(data=b"answer")) or b"")
        assert plain_response(start(*headers, status=status), body(), defaults) == found
