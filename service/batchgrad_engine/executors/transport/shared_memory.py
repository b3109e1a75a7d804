"""Connect workers on the engine's machine: commands by socket, arrays in shared memory."""

import json
import mmap
import os
import secrets
import socket
import struct
from contextlib import suppress

import numpy as np

from batchgrad_engine.executors.protocol import Range, Traffic, Transport
from batchgrad_engine.executors.scheduler.protocol import AnySums, ConnectionLost, StepRequest
from batchgrad_workers.runtime import ipc
from batchgrad_workers.runtime.shared_memory import allocate, mapped

GONE = "its connection closed: the process is gone"
PEER = struct.Struct("3i")
"""SO_PEERCRED: ids of process, user and group."""


class SharedMemoryConnections:
    """The socket that workers of this machine connect to, and one copy of θ for all of them.

    The socket is abstract: it has no file and ends with this process. Any process of the machine
    can connect to it, so a peer needs the same user id and a token from `connect_info`.
    """

    def __init__(self, node: str) -> None:
        """`node` is this machine's id in Ray.

        Raises:
            OSError: this system has no abstract sockets.
        """
        self.traffic: Traffic = Traffic()
        self._node = node
        self._address = f"batchgrad-{secrets.token_hex(16)}"
        self._unidentified: list[socket.socket] = []
        self._arrived: dict[bytes, socket.socket] = {}
        self._theta: mmap.mmap | None = None
        self._theta_descriptor = -1
        self._published = 0
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.setblocking(False)
        self._listener.bind("\0" + self._address)
        self._listener.listen(128)

    def connect_info(self) -> ipc.ConnectInfo:
        """What one worker needs to connect; a worker on another machine ignores it."""
        self._accept()  # close the connections of workers that failed meanwhile
        return ipc.ConnectInfo(self._node, self._address, secrets.token_bytes(16))

    def connection(self, connect_info: ipc.ConnectInfo) -> "SharedMemoryConnection | None":
        """The connection of the worker that has this info; None if it did not connect."""
        self._accept()
        sock = self._arrived.pop(connect_info.token, None)
        return None if sock is None else SharedMemoryConnection(sock, self)

    def publish(self, request: StepRequest) -> int:
        """Copy the request's θ into shared memory, once per request; returns its descriptor.

        Raises:
            MemoryError: shared memory is full.
        """
        theta = request.parameters
        if self._theta is None:
            self._theta_descriptor = allocate(theta.nbytes)
            self._theta = mapped(self._theta_descriptor)
        if self._published != request.number:
            self._published = request.number
            np.frombuffer(self._theta, theta.dtype, len(theta))[:] = theta
            self.traffic["out", "shared_memory"] += theta.nbytes
        return self._theta_descriptor

    def close(self) -> None:
        """Accept no more connections."""
        self._listener.close()
        for sock in [*self._unidentified, *self._arrived.values()]:
            sock.close()
        if self._theta is not None:
            os.close(self._theta_descriptor)
            self._theta = None

    def _accept(self) -> None:
        """Accept connections, read the tokens that have arrived, and drop closed connections."""
        with suppress(BlockingIOError):
            while True:
                self._unidentified.append(self._listener.accept()[0])
        unidentified, self._unidentified = self._unidentified, []
        for sock in unidentified:
            token = _received(sock) if _is_ours(sock) else b""
            if token is None:
                self._unidentified.append(sock)
            elif token:
                self._arrived[token] = sock
            else:
                sock.close()
        for token, sock in list(self._arrived.items()):
            if _received(sock, socket.MSG_PEEK) == b"":
                self._arrived.pop(token).close()


class SharedMemoryConnection:
    """One worker's socket, and the memory that its sums are in."""

    transport: Transport = "shared_memory"
    relied_on = False

    def __init__(self, sock: socket.socket, connections: SharedMemoryConnections) -> None:
        self._socket = sock
        self._connections = connections
        self._has_theta = False
        self._memory: mmap.mmap | None = None

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, request: StepRequest, microbatches: Range) -> None:
        theta = self._connections.publish(request)
        compute_request = ipc.ComputeRequest(
            request.number, request.work, request.step, *microbatches, request.clip_norm
        )
        descriptors = [] if self._has_theta else [theta]
        try:
            socket.send_fds(self._socket, [json.dumps(compute_request).encode()], descriptors)
        except ConnectionError as error:
            raise ConnectionLost(GONE) from error
        self._has_theta = True

    def receive(self, request: StepRequest | None) -> AnySums | None:
        try:
            packet, descriptors, _, _ = socket.recv_fds(self._socket, ipc.PACKET_BYTES, 1)
        except ConnectionError as error:
            raise ConnectionLost(GONE) from error
        if not packet:
            raise ConnectionLost(GONE)
        for descriptor in descriptors:
            self._memory = mapped(descriptor)
            os.close(descriptor)
        reply = ipc.parse_reply(packet)
        if request is None or reply.number != request.number:
            return None
        result = ipc.range_sums(reply, request.work, self._memory)
        self._connections.traffic["in", "shared_memory"] += sum(
            array.nbytes for array in ipc.flat_arrays(result)
        )
        return result

    def close(self) -> None:
        self._socket.close()


def _is_ours(sock: socket.socket) -> bool:
    """Whether the peer is a process of this user."""
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER.size)
    _, user, _ = PEER.unpack(credentials)
    return bool(user == os.getuid())


def _received(sock: socket.socket, flags: int = 0) -> bytes | None:
    """The bytes that have arrived; None if there are none yet, b"" if the peer closed."""
    try:
        return sock.recv(64, flags | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    except ConnectionError:
        return b""
