"""Wait for an operation, while the service may restart."""

from batchgrad.contract import Operation
from batchgrad.errors import (
    BatchgradError,
    ConnectionFailed,
    NotFound,
    SentRequest,
    ServerError,
    Timeout,
    api_error_type,
)
from batchgrad.http.following import ReconnectTimeout
from batchgrad.http.requests import operation_path
from batchgrad.http.responses import decode
from batchgrad.http.session import Session
from batchgrad.http.uploads import OnProgress

FIRST_POLL_SECONDS = 0.02
LONGEST_POLL_SECONDS = 0.5


class OperationLost(Exception):
    """The service has restarted and forgotten the operation: begin it again."""


async def finished(
    session: Session,
    operation: Operation,
    *,
    timeout: float | None,
    reconnect: ReconnectTimeout,
    on_progress: OnProgress,
) -> Operation:
    """The operation once it has succeeded; polls it, at first often.

    Raises:
        ApiError: it failed: InvalidRequest, Conflict, … as if the service had answered at once.
        Timeout: it has not ended after `timeout` seconds; it goes on.
        BatchgradError: it was cancelled.
        OperationLost: the service has forgotten it.
    """
    path = operation_path(operation.id)
    deadline = None if timeout is None else reconnect.clock() + timeout
    pause = FIRST_POLL_SECONDS
    while operation.finished_at is None:
        on_progress("read", operation.rows_done, operation.rows)
        if deadline is not None and reconnect.clock() + pause > deadline:
            of = "" if operation.rows is None else f" of {operation.rows}"
            raise Timeout(
                f"Operation {operation.id} is {operation.status} after {timeout:g} s, at row "
                f"{operation.rows_done}{of}; it goes on. Wait longer with timeout."
            )
        await session.sleep(pause)
        pause = min(1.5 * pause, LONGEST_POLL_SECONDS)
        try:
            operation = decode(Operation, await session.send("GET", path))
        except NotFound as error:
            raise OperationLost from error
        except (ConnectionFailed, Timeout, ServerError) as error:
            if not reconnect.allows_retry(error):
                raise
        else:
            reconnect.reset()
    return _succeeded(session, operation, path)


def _succeeded(session: Session, operation: Operation, path: str) -> Operation:
    request = SentRequest("GET", f"{session.url}{path}")
    if (problem := operation.problem) is not None:
        raise api_error_type(problem.status)(problem, status=problem.status, request=request)
    if operation.status == "cancelled":
        raise BatchgradError(f"Operation {operation.id} was cancelled.", request=request)
    return operation
