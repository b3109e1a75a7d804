"""The connection of a client to one service: where it is, how long to wait, when to reconnect."""

import os
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import httpx2

from batchgrad import timeouts
from batchgrad.contract import Version
from batchgrad.http.following import OnDisconnect, ReconnectTimeout
from batchgrad.http.responses import decode
from batchgrad.http.retries import Retries
from batchgrad.http.session import Session
from batchgrad.parsing import arguments
from batchgrad.variables import refuse_unknown

DEFAULT_URL = "http://127.0.0.1:8711"


class BaseClient:
    """What a client does besides the requests for jobs and datasets; see `Client`."""

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout: float | None = timeouts.REQUEST,
        reconnect_timeout: float | None = timeouts.RECONNECT,
        transport: httpx2.BaseTransport | None = None,
        retries: Retries | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if url is None or token is None:
            refuse_unknown(os.environ)
        self._session = Session(
            (os.environ.get("BATCHGRAD_URL") or DEFAULT_URL) if url is None or url == "" else url,
            os.environ.get("BATCHGRAD_TOKEN") if token is None or token == "" else token,
            timeout=arguments.timeout("timeout", timeout),
            transport=transport,
            retries=retries,
            sleep=sleep,
        )
        self._sleep = sleep
        self._clock = clock
        self._reconnect_timeout = arguments.timeout("reconnect_timeout", reconnect_timeout)

    @property
    def url(self) -> str:
        """Where the service is."""
        return self._session.url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def version(self) -> Version:
        """The service's version, and what decides the bits of a run there."""
        return decode(Version, self._session.send("GET", "/v1/version"))

    def ready(self) -> bool:
        """Whether the service takes jobs now; False too without an answer. Never retries."""
        return self._session.answers("/readyz")

    def _reconnect(self, on_disconnect: OnDisconnect) -> ReconnectTimeout:
        return ReconnectTimeout(self._reconnect_timeout, on_disconnect, self._clock)
