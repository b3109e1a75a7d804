"""uvicorn's server with a connection limit, and the socket that it listens on."""

import socket
from collections.abc import Callable
from typing import Any

import uvicorn

from batchgrad_service.http.connections.connection import ConnectionLimit
from batchgrad_service.shutdown import Shutdown

GRACEFUL_SHUTDOWN_SECONDS = 5
"""How long open responses may take to end when the service stops."""

BACKLOG = 128
"""Connections that the kernel holds until the server accepts them."""

ACCEPTED_AT_ONCE = 16
"""Connections that asyncio accepts before it handles the first. Each takes a descriptor, also one
that is rejected: with BACKLOG instead, a burst could take every descriptor."""

_TICKS_PER_SECOND = 10  # of uvicorn


class HttpServer(uvicorn.Server):
    """uvicorn's server; closes overdue connections, and ends long responses when it stops."""

    def __init__(
        self,
        app: Any,
        *,
        limit: ConnectionLimit,
        on_listening: Callable[[], None],
        shutdown: Shutdown,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=limit.protocol,  # type: ignore[arg-type]  # uvicorn accepts a factory too
                backlog=ACCEPTED_AT_ONCE,
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="off",
                ws="none",
                timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_SECONDS,
            )
        )
        self._limit = limit
        self._on_listening = on_listening
        self._shutdown = shutdown

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then call `on_listening`."""
        await super().startup(sockets)
        for listening in sockets or ():  # asyncio has set the kernel's backlog to ACCEPTED_AT_ONCE
            listening.listen(BACKLOG)
        self._on_listening()

    async def on_tick(self, counter: int) -> bool:
        """Close overdue connections once a second."""
        if counter % _TICKS_PER_SECOND == 0:
            self._limit.close_overdue(self.server_state.connections)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End long responses, then the server."""
        self._shutdown.begin()
        await super().shutdown(sockets)

    def stop(self) -> None:
        """Begin to stop; may be called from any thread or signal handler."""
        self.should_exit = True


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        OSError: the port is in use, or the host is not an address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
    # Accepted sockets inherit TCP_NODELAY. asyncio does not set it for a socket made elsewhere, and
    # then every response on a kept connection waits 40 ms for the client's acknowledgement.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
