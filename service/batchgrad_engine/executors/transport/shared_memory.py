"""Lines to workers on the engine's own machine: commands by socket, arrays in shared memory."""

import json
import mmap
import os
import secrets
import socket
import struct
from contextlib import suppress
from typing import Any

import numpy as np

from batchgrad_engine.executors.protocol import Range, Traffic, Transport
from batchgrad_engine.executors.scheduler.protocol import Lost, StepRequest
from batchgrad_workers.runtime import ipc
from batchgrad_workers.runtime.shard import RangeSums
from batchgrad_workers.runtime.shared_memory import allocate, mapped

GONE = "its connection ended: the process is gone"
PEER = struct.Struct("3i")
"""SO_PEERCRED: process, user, group."""


class SharedMemoryConnections:
    """Where workers of this machine connect to; θ lies in one piece of memory for all of them.

    The socket is an abstract one: it has no file, and ends with this process. Anybody on the
    machine may connect, so only this user's processes are heard, and only with a token that the
    engine itself gave away.
    """

    def __init__(self, node: str) -> None:
        """`node` is this machine's name in Ray.

        Raises:
            OSError: this system has no such sockets.
        """
        self.traffic: Traffic = Traffic()
        self._node = node
        self._address = f"batchgrad-{secrets.token_hex(16)}"
        self._unheard: list[socket.socket] = []
        self._arrived: dict[bytes, socket.socket] = {}
        self._theta: mmap.mmap | None = None
        self._theta_descriptor = -1
        self._published = 0
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.setblocking(False)
        self._listener.bind("\0" + self._address)
        self._listener.listen(128)

    def offer(self) -> ipc.ConnectInfo:
        """For one worker, which may turn out to be on another machine."""
        self._accept()  # so that those who came and failed are forgotten
        return ipc.ConnectInfo(self._node, self._address, secrets.token_bytes(16))

    def line(self, offer: ipc.ConnectInfo) -> "SharedMemoryConnection | None":
        """The line to the worker that took the offer; None if none did."""
        self._accept()
        connection = self._arrived.pop(offer.token, None)
        return None if connection is None else SharedMemoryConnection(connection, self)

    def publish(self, call: StepRequest) -> int:
        """Put this call's θ into the shared memory, once; its descriptor.

        Raises:
            MemoryError: there is no room for it.
        """
        theta = call.parameters
        if self._theta is None:
            self._theta_descriptor = allocate(theta.nbytes)
            self._theta = mapped(self._theta_descriptor)
        if self._published != call.number:
            self._published = call.number
            np.frombuffer(self._theta, theta.dtype, len(theta))[:] = theta
            self.traffic["out", "shared_memory"] += theta.nbytes
        return self._theta_descriptor

    def close(self) -> None:
        """Let nobody come any more."""
        self._listener.close()
        for connection in [*self._unheard, *self._arrived.values()]:
            connection.close()
        if self._theta is not None:
            os.close(self._theta_descriptor)
            self._theta = None

    def _accept(self) -> None:
        """Take in who has come, hear who had not spoken yet, and forget who has gone again."""
        with suppress(BlockingIOError):
            while True:
                self._unheard.append(self._listener.accept()[0])
        unheard, self._unheard = self._unheard, []
        for connection in unheard:
            token = _said(connection) if _is_ours(connection) else b""
            if token is None:
                self._unheard.append(connection)
            elif token:
                self._arrived[token] = connection
            else:
                connection.close()
        for token, connection in list(self._arrived.items()):
            if _said(connection, socket.MSG_PEEK) == b"":
                self._arrived.pop(token).close()


class SharedMemoryConnection:
    """One worker's connection, and the memory that it answers in."""

    transport: Transport = "shared_memory"

    def __init__(self, connection: socket.socket, lines: SharedMemoryConnections) -> None:
        self._connection = connection
        self._lines = lines
        self._knows_theta = False
        self._memory: mmap.mmap | None = None

    def fileno(self) -> int:
        return self._connection.fileno()

    def ask(self, call: StepRequest, work: Range) -> None:
        theta = self._lines.publish(call)
        command = ipc.Command(call.number, call.work, call.step, *work)
        handed = [] if self._knows_theta else [theta]
        try:
            socket.send_fds(self._connection, [json.dumps(command).encode()], handed)
        except ConnectionError as error:
            raise Lost(GONE) from error
        self._knows_theta = True

    def answer(self, call: StepRequest | None) -> RangeSums[Any] | None:
        try:
            packet, descriptors, _, _ = socket.recv_fds(self._connection, ipc.PACKET_BYTES, 1)
        except ConnectionError as error:
            raise Lost(GONE) from error
        if not packet:
            raise Lost(GONE)
        for descriptor in descriptors:
            self._memory = mapped(descriptor)
            os.close(descriptor)
        reply = ipc.read(packet)
        if call is None or reply.call != call.number:
            return None
        answer = ipc.result(reply, call.work, self._memory)
        self._lines.traffic["in", "shared_memory"] += sum(
            array.nbytes for array in ipc.flat(answer)
        )
        return answer

    def close(self) -> None:
        self._connection.close()


def _is_ours(connection: socket.socket) -> bool:
    """Whether this user's process is at the other end."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER.size)
    _, user, _ = PEER.unpack(credentials)
    return bool(user == os.getuid())


def _said(connection: socket.socket, flags: int = 0) -> bytes | None:
    """What has come; None if nothing has yet, b"" if nothing will: the other end is closed."""
    try:
        return connection.recv(64, flags | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    except ConnectionError:
        return b""
