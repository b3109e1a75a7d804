"""Send a question to a process, and receive its answer."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from batchgrad_service.questions.forker import ForkedProcess
from batchgrad_service.questions.protocol import AnswerHeader, Progress, Question
from batchgrad_service.reading.row_progress import RowProgress

_WALL_SECONDS_PER_CPU_SECOND = 20
"""How long to wait for a second of CPU time on a busy machine; a stopped process never answers."""

_CHUNK_BYTES = 2**18
_IN_MEMORY_BYTES = 2**20  # of an answer; a longer one is kept on the disk for its reader


class ProcessEnded(Exception):
    """A process ended without an answer."""


@dataclass(frozen=True)
class Listener:
    """Who hears of an operation's process; see `QuestionPool.work`."""

    on_start: Callable[[Callable[[], None]], None]
    on_progress: RowProgress


def exchange(
    process: ForkedProcess,
    question: Question,
    body: bytes,
    folder: Path,
    listener: Listener | None,
) -> tuple[AnswerHeader, IO[bytes]]:
    """Return the answer; a large one is kept in `folder`.

    Raises:
        ProcessEnded, ConnectionError, TimeoutError: the process gave no answer.
    """
    connection = process.connection
    connection.settimeout(_WALL_SECONDS_PER_CPU_SECOND * question.cpu_seconds)
    connection.sendall(question.model_dump_json().encode() + b"\n")
    connection.sendall(body)
    with connection.makefile("rb") as answers:
        header = _header(answers)
        while header.outcome == "progress" and listener is not None:
            progress = _progress(answers, header.bytes)
            process.identify(progress.pid)
            listener.on_progress(progress.rows_done, progress.rows)
            header = _header(answers)
        content: IO[bytes] = tempfile.SpooledTemporaryFile(  # noqa: SIM115 - the caller's
            _IN_MEMORY_BYTES, dir=str(folder)
        )
        left = header.bytes
        while left:
            chunk = answers.read1(min(left, _CHUNK_BYTES))
            if not chunk:
                raise ProcessEnded
            content.write(chunk)
            left -= len(chunk)
    content.seek(0)
    return header, content


def _header(answers: IO[bytes]) -> AnswerHeader:
    line = answers.readline()
    if not line:
        raise ProcessEnded
    return AnswerHeader.model_validate_json(line)


def _progress(answers: IO[bytes], size_bytes: int) -> Progress:
    content = answers.read(size_bytes)
    if len(content) < size_bytes:
        raise ProcessEnded
    return Progress.model_validate_json(content)
