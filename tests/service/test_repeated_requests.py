"""Repeated requests in time: their order, slow responses, streams, clients that leave, a stop."""

import asyncio
import re
import socket
import threading
import time
from typing import Any

import h11
import pytest

from tests.service.one_app import (
    TIMEOUT_SECONDS,
    Serving,
    body,
    echo,
    head,
    response,
    served,
    start,
    until,
)


class Gate:
    """An app that answers by `echo` once the gate is open; at first it is."""

    def __init__(self, path: str = "") -> None:
        """Only requests for `path` wait, if one is given."""
        self._path = path
        self._open = threading.Event()
        self._open.set()
        self.open, self.shut = self._open.set, self._open.clear

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._path in scope["path"]:
            await asyncio.to_thread(self._open.wait, TIMEOUT_SECONDS)
        await echo(scope, receive, send)


@pytest.mark.parametrize("second", [head("/a") + head("/b"), head("/slow")])
def test_pipelined_requests_are_answered_in_order(second: bytes) -> None:
    gate = Gate("/slow")
    with served(gate) as serving:
        client = serving.connect()
        client.sendall(head("/slow"))
        assert response(client).endswith(b"/slow?")
        gate.shut()
        client.sendall(head("/slow"))
        until(lambda: serving.repeats)
        client.sendall(second)
        until(lambda: serving.connection.conn.their_state is h11.DONE)
        time.sleep(0.1)  # an answer that overtakes would come now
        gate.open()
        found = b""
        while len(answers := re.findall(rb"\r\n\r\n(/\w+\?)", found)) < 1 + second.count(b"GET"):
            found += client.recv(65536)
        assert answers == [
            b"/slow?",
            *re.findall(rb"(?<=GET )\S+", second.replace(b" HTTP", b"? HTTP")),
        ]


def waiting_for_a_repeat(serving: Serving, gate: Gate) -> socket.socket:
    """A connection whose second request has the first one's head, and waits at the gate."""
    client = serving.connect()
    client.sendall(head("/a"))
    response(client)
    gate.shut()
    client.sendall(head("/a"))
    until(lambda: serving.repeats)
    return client


def test_a_slow_response_is_waited_for() -> None:
    gate = Gate()
    with served(gate) as serving:
        client = waiting_for_a_repeat(serving, gate)
        connection = serving.connection
        connection.close_if_overdue(serving.now[0] + 1000)
        assert not connection.transport.is_closing()
        gate.open()
        assert response(client).endswith(b"/a?")
        serving.server.servers[0].get_loop().call_soon_threadsafe(
            connection.close_if_overdue, serving.now[0] + 1000
        )
        assert client.recv(1) == b""  # now it waits for a head


def test_a_stream_begins_before_its_first_part() -> None:
    go = threading.Event()

    async def stream(_scope: Any, _receive: Any, send: Any) -> None:
        await send(start((b"content-type", b"text/event-stream")))
        await asyncio.to_thread(go.wait, 2 * TIMEOUT_SECONDS)
        await send(body(b"end"))

    with served(stream) as serving:
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


def test_a_client_that_leaves_is_noticed() -> None:
    seen: list[str] = []

    async def waits(scope: Any, receive: Any, send: Any) -> None:
        while seen and seen[-1] != "http.disconnect":
            seen.append((await receive())["type"])
        seen.append("answered")
        await echo(scope, receive, send)

    with served(waits) as serving:
        client = serving.connect()
        client.sendall(head("/a"))
        response(client)
        client.sendall(head("/a"))
        until(lambda: "http.request" in seen)
        assert serving.repeats
        client.close()
        until(lambda: seen[-1] == "answered" and not serving.server.server_state.tasks)
        assert seen == ["answered", "http.request", "http.disconnect", "answered"]


def test_a_stop_waits_for_the_response() -> None:
    gate = Gate()
    with served(gate) as serving:
        client = waiting_for_a_repeat(serving, gate)
        connection = serving.connection
        connection.timeout_keep_alive = 1000
        serving.server.should_exit = True
        until(lambda: not connection.cycle.keep_alive)
        gate.open()
        assert response(client).endswith(b"/a?")
        assert client.recv(1) == b""
