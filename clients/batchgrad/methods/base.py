"""The base of a client's methods: a session with the service."""

from collections.abc import Callable
from dataclasses import dataclass

from batchgrad.contract import Version
from batchgrad.http.following import OnDisconnect, ReconnectTimeout
from batchgrad.http.responses import decode
from batchgrad.http.session import Session
from batchgrad.parsing import arguments


@dataclass(frozen=True)
class Service:
    """A session with one service, and how long it may be silent while a job is watched."""

    session: Session
    reconnect_timeout: float | None
    clock: Callable[[], float]

    def reconnect(self, on_disconnect: OnDisconnect) -> ReconnectTimeout:
        """The time to reconnect, of one call."""
        arguments.function("on_disconnect", on_disconnect)
        return ReconnectTimeout(self.reconnect_timeout, on_disconnect, self.clock)


class BaseMethods:
    """Whether and as what the service answers."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @property
    def _session(self) -> Session:
        return self._service.session

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def version(self) -> Version:
        """The service's version, and what decides the bits of a run there."""
        return decode(Version, await self._session.send("GET", "/v1/version"))

    async def ready(self) -> bool:
        """Whether the service takes jobs now; False too without an answer. Never retries."""
        return await self._session.answers("/readyz")
