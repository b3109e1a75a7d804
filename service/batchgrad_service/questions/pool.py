"""Heavy questions, each answered by a process of its own with limits of memory and time.

The processes stay for the next question, and are few. As many questions as `WAITING` wait for one;
any more are asked to come again.
"""

import socket
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import IO

import anyio.to_thread
import structlog

from batchgrad_service.problems import InvalidError, ProblemError, UnavailableError
from batchgrad_service.questions.forker import Forker
from batchgrad_service.questions.kinds import Kind
from batchgrad_service.questions.protocol import Answered, Question, SerializedProblem

AT_ONCE = 2
WAITING = 64
BODY_BYTES = 256 * 2**10
"""A question of so many bytes may take the time that is set, a longer one in proportion."""

DATA_BYTES = 100 * 2**20
"""So many bytes of stored data may take a second more: memory that is read once, or a disk."""

MEMORY_PER_BODY_BYTE = 24
"""For the body itself: a digit and its comma become a number of 8 bytes in three lists."""

MOST_SECONDS = 60.0
"""No question may take more CPU time."""

_SLOWNESS = 20
"""On a busy machine a second of CPU time may take so many; a process that is stopped never ends."""

_CHUNK_BYTES = 2**18
_IN_MEMORY_BYTES = 2**20  # of an answer; what is longer waits for its reader on the disk
_ANSWER_LESS = "use fewer examples, a smaller microbatch_size or a smaller model, or submit a job."
_log = structlog.stdlib.get_logger("batchgrad.questions")


class _ProcessEnded(Exception):
    """A process left without an answer."""


class QuestionPool:
    """Asks questions of processes, from any task. Large answers go to `folder`."""

    def __init__(
        self,
        folder: Path,
        *,
        memory_bytes: int,
        cpu_seconds: float,
        at_once: int = AT_ONCE,
        waiting: int = WAITING,
    ) -> None:
        self._folder = folder
        self._memory_bytes = memory_bytes
        self._cpu_seconds = cpu_seconds
        self._most = at_once + waiting
        self._under_way = 0
        self._limiter = anyio.CapacityLimiter(at_once)
        self._lock = threading.Lock()  # guards what follows
        self._forker = Forker()
        self._idle: list[socket.socket] = []
        self._busy: set[socket.socket] = set()
        self._stopped = False

    async def ask(self, kind: Kind, body: bytes, *, data_bytes: int = 0) -> IO[bytes]:
        """The answer, from its beginning; `data_bytes` of stored data may have to be read for it.

        Raises:
            ProblemError: the question is wrong, or takes more than it may.
            UnavailableError: too many wait, or the service stops.
        """
        if self._under_way >= self._most:
            raise UnavailableError(
                f"{self._under_way} questions wait for their answers, as many as may: ask again.",
                code="requests_busy",
                headers={"Retry-After": "2"},
            )
        seconds = self._cpu_seconds * max(1, len(body) / BODY_BYTES) + data_bytes / DATA_BYTES
        asked = Question(
            kind=kind,
            bytes=len(body),
            memory_bytes=self._memory_bytes + MEMORY_PER_BODY_BYTE * len(body),
            cpu_seconds=min(MOST_SECONDS, seconds),
        )
        self._under_way += 1
        try:
            return await anyio.to_thread.run_sync(self._ask, asked, body, limiter=self._limiter)
        finally:
            self._under_way -= 1

    def start(self) -> None:
        """Get ready, if nobody has asked before: the first question need not wait then."""
        with self._lock:
            if not self._stopped:
                self._forker.start()

    def stop(self) -> None:
        """End all processes; questions under way are not answered any more."""
        with self._lock:
            self._stopped = True
            for line in self._busy:
                with suppress(OSError):  # its process has just ended
                    line.shutdown(socket.SHUT_RDWR)
            for line in self._idle:
                line.close()
            self._idle.clear()
            self._forker.stop()

    def _ask(self, asked: Question, body: bytes) -> IO[bytes]:
        line = self._take()
        started = monotonic()
        try:
            answered, content = self._converse(line, asked, body)
        except (_ProcessEnded, ConnectionError, TimeoutError) as error:
            self._give_back(line, usable=False)
            raise self._ended(asked, monotonic() - started, error) from error
        except BaseException:
            self._give_back(line, usable=False)
            raise
        self._give_back(line, usable=not answered.last)
        if answered.outcome == "answer":
            return content
        with content:
            if answered.outcome == "problem":
                raise SerializedProblem.model_validate_json(content.read()).problem()
        if answered.outcome == "out_of_memory":
            raise _too_large(asked)
        raise ProblemError("Something broke inside; the service's log says what.")

    def _converse(
        self, line: socket.socket, asked: Question, body: bytes
    ) -> tuple[Answered, IO[bytes]]:
        line.settimeout(_SLOWNESS * asked.cpu_seconds)
        line.sendall(asked.model_dump_json().encode() + b"\n")
        line.sendall(body)
        with line.makefile("rb") as answers:
            header = answers.readline()
            if not header:
                raise _ProcessEnded
            answered = Answered.model_validate_json(header)
            content: IO[bytes] = tempfile.SpooledTemporaryFile(  # noqa: SIM115 - the caller's
                _IN_MEMORY_BYTES, dir=str(self._folder)
            )
            left = answered.bytes
            while left:
                chunk = answers.read1(min(left, _CHUNK_BYTES))
                if not chunk:
                    raise _ProcessEnded
                content.write(chunk)
                left -= len(chunk)
        content.seek(0)
        return answered, content

    def _take(self) -> socket.socket:
        """The line to a process that is free, or to a new one."""
        with self._lock:
            if self._stopped:
                raise _stopping()
            while self._idle:
                line = self._idle.pop()
                if _is_there(line):
                    break
                line.close()
            else:
                line = self._forker.fork()
            self._busy.add(line)
            return line

    def _give_back(self, line: socket.socket, *, usable: bool) -> None:
        with self._lock:
            self._busy.discard(line)
            if usable and not self._stopped:
                self._idle.append(line)
                return
        line.close()

    def _ended(self, asked: Question, seconds: float, error: Exception) -> ProblemError:
        if self._stopped:
            return _stopping()
        _log.warning("a question's process ended", kind=asked.kind, seconds=round(seconds, 2))
        if not isinstance(error, TimeoutError) and seconds < asked.cpu_seconds:
            return _too_large(asked)  # not every library can tell of a lack of memory
        return InvalidError.field(
            "",
            f"The answer takes more than {asked.cpu_seconds:.3g} s of CPU time, as much as this "
            f"question may: {_ANSWER_LESS}",
            code="request_cpu_time_exceeded",
        )


def _is_there(line: socket.socket) -> bool:
    """Whether the process at the other end has not left."""
    line.setblocking(False)
    try:
        return line.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


def _too_large(asked: Question) -> ProblemError:
    return InvalidError.field(
        "",
        f"The answer takes more than {asked.memory_bytes / 2**20:.0f} MiB of memory, as much as "
        f"this question may: {_ANSWER_LESS}",
        code="request_memory_exceeded",
    )


def _stopping() -> ProblemError:
    return UnavailableError("The service is stopping.", code="not_ready")
