"""Run operations, a few at once, and remember them for an hour after their end."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import structlog
from pydantic import BaseModel

from batchgrad.contract import Operation, OperationKind, Page
from batchgrad_service.disk_space import DiskSpace
from batchgrad_service.operations.records import (
    ENDED,
    Record,
    failed,
    new_operation,
    unexpected,
)
from batchgrad_service.operations.work import Result, Work
from batchgrad_service.problems import (
    ConflictError,
    InsufficientStorageError,
    NotFoundError,
    ProblemError,
    UnavailableError,
)
from batchgrad_service.questions.ends import stopping
from batchgrad_service.reading.row_progress import RowProgress
from batchgrad_service.store import utc_now

AT_ONCE = 2
MAX_UNFINISHED = 64
MAX_ENDED = 256
KEPT = timedelta(hours=1)
LEAST_CPU_SECONDS = 60.0
CPU_SECONDS_PER_BYTE = 1 / 500_000
"""Much slower than any reader: a file of text that is read twice takes a tenth of it."""

_log = structlog.stdlib.get_logger("batchgrad.operations")


class Worker(Protocol):
    """What does an operation's work: see `questions.pool.QuestionPool.work`."""

    def work(
        self,
        kind: OperationKind,
        body: bytes,
        *,
        cpu_seconds: float,
        file_bytes: int,
        on_start: Callable[[Callable[[], None]], None],
        on_progress: RowProgress,
    ) -> bytes:
        """The answer of a process of its own to `body`."""


class Operations:
    """Run and remember operations; from any thread."""

    def __init__(
        self,
        worker: Worker,
        disk: DiskSpace,
        *,
        clock: Callable[[], datetime] = utc_now,
        at_once: int = AT_ONCE,
    ) -> None:
        self._worker = worker
        self._disk = disk
        self._clock = clock
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="operation")
        self._lock = threading.Lock()  # guards the following
        self._records: dict[str, Record] = {}  # by id, oldest first
        self._stopped = False

    def start(self, work: Work) -> Operation:
        """Begin an operation, or return the one that does the same and has not ended.

        Raises:
            UnavailableError: too many wait, or the service is stopping.
        """
        with self._lock:
            self._forget_old()
            unfinished = [one for one in self._records.values() if one.shown.status not in ENDED]
            for record in unfinished:
                if record.key == work.key and not record.cancelled:
                    return record.shown
            if self._stopped:
                raise stopping()
            if len(unfinished) >= MAX_UNFINISHED:
                raise UnavailableError(
                    f"{len(unfinished)} operations have not ended, as many as may: send it again "
                    "later.",
                    code="operations_busy",
                    headers={"Retry-After": "5"},
                )
            record = Record(new_operation(work.kind, self._clock()), work.key)
            self._records[record.shown.id] = record
            self._threads.submit(self._run, record, work)
            return record.shown

    def get(self, operation_id: str) -> Operation:
        """Return an operation. Raises NotFoundError."""
        with self._lock:
            return self._find(operation_id).shown

    def page(self, after: str | None, limit: int) -> Page[Operation]:
        """Return operations, newest first, from the one before `after`. Raises NotFoundError."""
        with self._lock:
            self._forget_old()
            if after is not None:
                self._find(after)
            ids = list(reversed(self._records))
            first = 0 if after is None else ids.index(after) + 1
            found = [self._records[one].shown for one in ids[first : first + limit]]
            more = first + limit < len(ids)
        return Page[Operation](data=found, next=found[-1].id if more else None)

    def file(self, operation_id: str) -> tuple[Path, str]:
        """Return the file of a result, and its media type.

        Raises:
            NotFoundError: no such operation, or its result is not a file.
            ConflictError: it has not succeeded, or not yet.
        """
        with self._lock:
            record = self._find(operation_id)
            if record.shown.status != "succeeded":
                raise ConflictError(
                    f"Operation {operation_id} is {record.shown.status}: it has no result.",
                    code="operation_not_succeeded",
                )
            if record.file is None:
                raise NotFoundError(
                    f"The result of operation {operation_id} is not a file: it is in "
                    f"GET /v1/operations/{operation_id}."
                )
            return record.file, record.media_type

    def cancel(self, operation_id: str) -> None:
        """Cancel an operation; forget it if it has ended. Raises NotFoundError."""
        with self._lock:
            record = self._find(operation_id)
            if record.shown.status in ENDED:
                self._forget(record)
            else:
                self._cancel(record)

    def stop(self) -> None:
        """End all operations, and start no others; clients begin them again after a restart."""
        with self._lock:
            self._stopped = True
            for record in self._records.values():
                if record.shown.status not in ENDED:
                    self._cancel(record)

    def join(self) -> None:
        """Wait until no operation runs; removes the files of results. Call after `stop`."""
        self._threads.shutdown()
        with self._lock:
            for record in list(self._records.values()):
                self._forget(record)

    def _run(self, record: Record, work: Work) -> None:
        if not self._set_running(record):
            return
        changes: dict[str, Any]
        try:
            result = work.run(partial(self._ask, record, work))
        except ProblemError as problem:
            changes = failed(problem)
        except Exception as error:  # noqa: BLE001 - nobody else would see it
            changes = failed(unexpected(error, record.shown))
        else:
            changes = self._succeeded(record, result)
        if record.cancelled and changes["status"] != "succeeded":
            changes = self._ended()
        self._show(record, finished_at=self._clock(), **changes)
        shown = record.shown
        _log.info(
            "operation ended",
            operation_id=shown.id,
            kind=shown.kind,
            status=shown.status,
            rows=shown.rows_done,
            code=shown.problem.code if shown.problem else None,
        )

    def _set_running(self, record: Record) -> bool:
        with self._lock:
            if not record.cancelled:
                record.shown = record.shown.model_copy(update={"status": "running"})
            return not record.cancelled

    def _ask(self, record: Record, work: Work, task: BaseModel) -> bytes:
        def on_start(end_process: Callable[[], None]) -> None:
            with self._lock:
                record.end_process = end_process
            if record.cancelled:
                end_process()

        def on_progress(rows_done: int, rows: int | None) -> None:
            self._show(record, rows_done=rows_done, rows=rows)
            if shortage := self._disk.shortage():
                raise InsufficientStorageError(shortage)

        try:
            return self._worker.work(
                work.kind,
                task.model_dump_json().encode(),
                cpu_seconds=LEAST_CPU_SECONDS + CPU_SECONDS_PER_BYTE * work.read_bytes,
                file_bytes=work.written_bytes,
                on_start=on_start,
                on_progress=on_progress,
            )
        finally:
            with self._lock:
                record.end_process = None

    def _succeeded(self, record: Record, result: Result) -> dict[str, Any]:
        record.file, record.media_type = result.file, result.media_type
        return {
            "status": "succeeded",
            "dataset": result.dataset,
            "evaluation": result.evaluation,
            "warnings": list(result.warnings),
            "parameters_digest": result.parameters_digest,
            "parameters_step": result.parameters_step,
            "bytes": None if result.file is None else result.file.stat().st_size,
        }

    def _show(self, record: Record, **changes: Any) -> None:
        with self._lock:
            record.shown = record.shown.model_copy(update=changes)

    def _cancel(self, record: Record) -> None:
        record.cancelled = True
        if record.shown.status == "waiting":
            changes = {**self._ended(), "finished_at": self._clock()}
            record.shown = record.shown.model_copy(update=changes)
        elif record.end_process is not None:
            record.end_process()

    def _ended(self) -> dict[str, Any]:
        """The end of an operation that was cancelled, or ended by the service's stop."""
        return failed(stopping()) if self._stopped else {"status": "cancelled"}

    def _find(self, operation_id: str) -> Record:
        if operation_id not in self._records:
            raise NotFoundError(
                f"There is no operation {operation_id:.64}: operations are forgotten an hour after "
                "their end, and when the service stops."
            )
        return self._records[operation_id]

    def _forget_old(self) -> None:
        ended = [one for one in self._records.values() if one.shown.finished_at is not None]
        long_ago = self._clock() - KEPT
        for index, record in enumerate(ended):
            finished_at = record.shown.finished_at
            if index < len(ended) - MAX_ENDED or (finished_at and finished_at < long_ago):
                self._forget(record)

    def _forget(self, record: Record) -> None:
        del self._records[record.shown.id]
        if record.file is not None:
            record.file.unlink(missing_ok=True)
