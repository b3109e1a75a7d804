"""An operation as the service keeps it, and how it fails."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from batchgrad.contract import Operation, OperationKind
from batchgrad_service.http.error_handlers import as_details
from batchgrad_service.problems import InsufficientStorageError, ProblemError
from batchgrad_workers.system.disk import disk_full_message, is_disk_full

ENDED = frozenset({"succeeded", "failed", "cancelled"})
_log = structlog.stdlib.get_logger("batchgrad.operations")


@dataclass(eq=False)
class Record:
    """An operation, and what its readers do not see of it."""

    shown: Operation
    key: str
    cancelled: bool = False
    end_process: Callable[[], None] | None = None
    file: Path | None = None
    media_type: str = ""


def new_operation(kind: OperationKind, now: datetime) -> Operation:
    """An operation that waits."""
    return Operation(
        id=f"operation_{secrets.token_hex(8)}",
        kind=kind,
        status="waiting",
        rows_done=0,
        rows=None,
        created_at=now,
        finished_at=None,
    )


def failed(problem: ProblemError) -> dict[str, Any]:
    """What a problem changes of an operation."""
    return {"status": "failed", "problem": as_details(problem)}


def unexpected(error: Exception, operation: Operation) -> ProblemError:
    """The problem for an exception that nothing else expects; logs it, unless a disk is full."""
    if is_disk_full(error):
        return InsufficientStorageError(disk_full_message(error))
    _log.error("operation failed", exc_info=error, operation_id=operation.id, kind=operation.kind)
    return ProblemError(
        f"An internal error occurred; the service's log has it under {operation.id}."
    )
