"""A pool of processes that answer questions, each within limits of memory and CPU time.

A few processes answer one question after the other. At most `MAX_WAITING` questions wait; further
ones are refused with a Retry-After.
"""

import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

import anyio.to_thread
import structlog

from batchgrad.contract import OperationKind
from batchgrad_service.problems import ProblemError, UnavailableError
from batchgrad_service.questions.ends import problem_of_end, stopping, too_large
from batchgrad_service.questions.exchange import Listener, ProcessEnded, exchange
from batchgrad_service.questions.forker import ForkedProcess, Forker
from batchgrad_service.questions.kinds import Kind
from batchgrad_service.questions.protocol import Question, SerializedProblem
from batchgrad_service.reading.row_progress import RowProgress

PROCESSES = 2
MAX_WAITING = 64
BODY_BYTES = 256 * 2**10
"""A question of this length may take the time that is set; a longer one, more in proportion."""

DATA_BYTES = 100 * 2**20
"""For each of these many bytes of stored data a question may take one second more."""

MEMORY_PER_BODY_BYTE = 24
"""Memory for the body itself: a digit and its comma become an 8-byte number in three lists."""

MOST_SECONDS = 60.0
"""The most CPU time that any question may take."""

_log = structlog.stdlib.get_logger("batchgrad.questions")


class QuestionPool:
    """Sends questions to processes, from any task. Large answers are kept in `folder`."""

    def __init__(
        self,
        folder: Path,
        *,
        memory_bytes: int,
        cpu_seconds: float,
        processes: int = PROCESSES,
        max_waiting: int = MAX_WAITING,
        forker: Forker | None = None,
    ) -> None:
        self._folder = folder
        self._memory_bytes = memory_bytes
        self._cpu_seconds = cpu_seconds
        self._capacity = processes + max_waiting
        self._in_flight = 0
        self._limiter = anyio.CapacityLimiter(processes)
        self._lock = threading.Lock()  # guards the following
        self._forker = forker or Forker()
        self._idle: list[ForkedProcess] = []
        self._busy: set[ForkedProcess] = set()
        self._stopped = False

    async def ask(self, kind: Kind, body: bytes, *, data_bytes: int = 0) -> IO[bytes]:
        """Return the answer as a file; `data_bytes` of stored data may have to be read for it.

        Raises:
            ProblemError: the question is wrong, or takes more than it may.
            UnavailableError: too many questions wait, or the service stops.
        """
        if self._in_flight >= self._capacity:
            raise UnavailableError(
                f"{self._in_flight} questions wait already, as many as may: send it again later.",
                code="requests_busy",
                headers={"Retry-After": "2"},
            )
        seconds = self._cpu_seconds * max(1, len(body) / BODY_BYTES) + data_bytes / DATA_BYTES
        question = Question(
            kind=kind,
            bytes=len(body),
            memory_bytes=self._memory_bytes + MEMORY_PER_BODY_BYTE * len(body),
            cpu_seconds=min(MOST_SECONDS, seconds),
        )
        self._in_flight += 1
        try:
            return await anyio.to_thread.run_sync(self._ask, question, body, limiter=self._limiter)
        finally:
            self._in_flight -= 1

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
        """Do an operation in a process of its own, and return its answer; waits for it.

        `on_start` gets the function that ends the process. `on_progress` gets rows that are done
        and rows in all; what it raises ends the process.

        Raises:
            ProblemError: the operation failed, or took more than it may.
        """
        question = Question(
            kind=kind,
            bytes=len(body),
            memory_bytes=self._memory_bytes + MEMORY_PER_BODY_BYTE * len(body),
            cpu_seconds=cpu_seconds,
            file_bytes=file_bytes,
        )
        with self._ask(question, body, Listener(on_start, on_progress)) as answer:
            return answer.read()

    def start(self) -> None:
        """Start the process that forks the others, so that the first question need not wait."""
        with self._lock:
            if not self._stopped:
                self._forker.start()

    def stop(self) -> None:
        """End all processes; questions in flight get no answer."""
        with self._lock:
            self._stopped = True
            for process in self._busy:
                process.end()
            for process in self._idle:
                process.close()
            self._idle.clear()
            self._forker.stop()

    def _ask(self, question: Question, body: bytes, listener: Listener | None = None) -> IO[bytes]:
        process = self._acquire(new=listener is not None)
        try:
            if listener is not None:
                listener.on_start(process.end)
            header, content = exchange(process, question, body, self._folder, listener)
        except (ProcessEnded, ConnectionError, TimeoutError) as error:
            try:
                raise self._problem_of_end(question, process, error) from error
            finally:
                process.end()
                self._release(process, usable=False)
        except BaseException:
            process.end()
            self._release(process, usable=False)
            raise
        self._release(process, usable=not header.last)
        if header.outcome == "answer":
            return content
        with content:
            if header.outcome == "problem":
                raise SerializedProblem.model_validate_json(content.read()).problem()
        if header.outcome == "out_of_memory":
            raise too_large(question)
        raise ProblemError("An internal error occurred; the service's log has it.")

    def _acquire(self, *, new: bool = False) -> ForkedProcess:
        """Return a free process, or a new one."""
        with self._lock:
            if self._stopped:
                raise stopping()
            while self._idle and not new:
                process = self._idle.pop()
                if _is_alive(process.connection):
                    break
                process.close()
            else:
                process = self._forker.fork()
            self._busy.add(process)
            return process

    def _release(self, process: ForkedProcess, *, usable: bool) -> None:
        with self._lock:
            self._busy.discard(process)
            if usable and not self._stopped:
                self._idle.append(process)
                return
        process.close()

    def _problem_of_end(
        self, question: Question, process: ForkedProcess, error: Exception
    ) -> ProblemError:
        """Why `process` gave no answer, by how it ended."""
        if self._stopped:
            return stopping()
        late = isinstance(error, TimeoutError)
        status = -signal.SIGPROF if late else process.exit_status()
        _log.warning(
            "a process ended without an answer", kind=question.kind, exit_status=status, late=late
        )
        return problem_of_end(question, status)


def _is_alive(connection: socket.socket) -> bool:
    """Whether the process at the other end has not ended."""
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
