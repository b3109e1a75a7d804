"""Operations on data: send a file, begin, wait, list, cancel."""

from asyncio import CancelledError
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from batchgrad.contract import Operation, Page
from batchgrad.data.source import Source
from batchgrad.errors import BatchgradError, ConnectionFailed, ServerError, UnexpectedAnswer
from batchgrad.http.following import ignore
from batchgrad.http.operations import OperationLost, finished
from batchgrad.http.pages import pages
from batchgrad.http.requests import operation_path
from batchgrad.http.responses import decode
from batchgrad.http.uploads import OnProgress, Uploader, may_pass
from batchgrad.methods.base import BaseMethods

_MOST_STARTS = 3


class OperationMethods(BaseMethods):
    """The requests for operations, and what imports, predictions and evaluations share."""

    async def operation(self, operation_id: str) -> Operation:
        """How far an operation is, and its result."""
        return decode(Operation, await self._session.send("GET", operation_path(operation_id)))

    def operations(self) -> AsyncIterator[Operation]:
        """All operations, newest first, fetched page by page."""
        return pages(self._session, Page[Operation], "/v1/operations", {})

    async def cancel_operation(self, operation_id: str) -> None:
        """Cancel an operation; one that has ended is forgotten."""
        await self._session.send("DELETE", operation_path(operation_id))

    async def _uploaded(
        self, source: Source, *, timeout: float | None, on_progress: OnProgress
    ) -> str:
        """Send a file; return its digest."""
        reconnect = self._service.reconnect(ignore)
        return await Uploader(self._session, reconnect, timeout, on_progress).send(source)

    async def _operated(
        self,
        method: str,
        path: str,
        body: Any,
        *,
        timeout: float | None,
        on_progress: OnProgress,
    ) -> Operation:
        """Begin an operation and wait until it has succeeded; begin it again after a restart.

        Ctrl-C, or cancelling the task, cancels the operation.

        Raises: see `http.operations.finished`.
        """
        reconnect = self._service.reconnect(ignore)
        starts = 0
        while True:
            try:
                answer = await self._session.send_json(method, path, body, timeout=timeout)
                starts += 1
                operation = decode(Operation, answer)
                try:
                    return await finished(
                        self._session,
                        operation,
                        timeout=timeout,
                        reconnect=reconnect,
                        on_progress=on_progress,
                    )
                except (KeyboardInterrupt, CancelledError):
                    with suppress(BatchgradError):
                        await self.cancel_operation(operation.id)
                    raise
            except OperationLost as lost:
                if starts == _MOST_STARTS:
                    raise UnexpectedAnswer(
                        f"The service has forgotten the operation {starts} times: it restarts "
                        "again and again; see its log."
                    ) from lost
            except (ConnectionFailed, ServerError) as error:
                restarting = 0 < starts < _MOST_STARTS and may_pass(error)
                if not (restarting and reconnect.allows_retry(error)):
                    raise
                await self._session.sleep(self._session.retries.backoff(starts))
