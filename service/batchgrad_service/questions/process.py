"""`python -m batchgrad_service.questions.process FD`: fork the processes that answer questions.

This process imports what they need and answers a question itself, so that a fork, in a few
milliseconds, is ready for its first question. FD is a Unix socket; each message on it brings a
socket for a new process, and a pipe for its exit status. This process ends when FD is closed.
"""

import gc
import json
import os
import resource
import signal
import socket
import sys
import traceback
from types import FrameType

from batchgrad_service.problems import InsufficientStorageError
from batchgrad_service.questions.kinds import ANSWERS, OPERATIONS
from batchgrad_service.questions.progress import ProgressSender
from batchgrad_service.questions.protocol import (
    PROBLEMS,
    AnswerHeader,
    Outcome,
    Question,
    SerializedProblem,
)
from batchgrad_workers.runtime.threads import single_threaded_blas
from batchgrad_workers.system.disk import disk_full_message, is_disk_full
from batchgrad_workers.system.process_memory import at_most, resident_bytes
from batchgrad_workers.system.processes import block_sigterm

KEPT_BYTES = 64 * 2**20
"""A process that has grown by more than this answers no further question."""


def main() -> int:
    """Fork a process for each socket that arrives."""
    block_sigterm()
    single_threaded_blas()
    _warm_up()
    gc.collect()
    gc.freeze()  # so that garbage collection does not copy pages that the processes share
    children = _Children()
    signal.signal(signal.SIGCHLD, children.reap)
    with socket.socket(fileno=int(sys.argv[1])) as control:
        while True:
            message, descriptors, _, _ = socket.recv_fds(control, 1, 2)
            if not message:
                return 0
            connection, status = descriptors
            try:
                is_child = children.fork(status)
            except OSError as error:  # too many processes, or too little memory
                sys.stderr.write(f"cannot fork a process: {error}\n")
                os.close(status)
                is_child = False
            if is_child:
                control.close()
                _answer_all(socket.socket(fileno=connection))
                os._exit(0)
            os.close(connection)


class _Children:
    """Forked processes, and the pipes to which their exit statuses are written."""

    def __init__(self) -> None:
        self._pipes: dict[int, int] = {}  # by process id

    def fork(self, pipe: int) -> bool:
        """Fork; True in the child. `pipe` gets the child's exit status.

        Raises:
            OSError: the machine has no process or memory left; `pipe` stays open.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})  # until the child is in _pipes
        try:
            child = os.fork()
            if child == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for inherited in (pipe, *self._pipes.values()):
                    os.close(inherited)
            else:
                self._pipes[child] = pipe
            return child == 0
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})

    def reap(self, _number: int, _frame: FrameType | None) -> None:
        """Report every child that has ended; a handler of SIGCHLD."""
        while self._pipes:
            child, status = os.waitpid(-1, os.WNOHANG)
            if child == 0:
                return
            pipe = self._pipes.pop(child)
            try:
                os.write(pipe, str(os.waitstatus_to_exitcode(status)).encode())
            except BrokenPipeError:  # the service does not wait for it
                pass
            finally:
                os.close(pipe)


def _answer_all(connection: socket.socket) -> None:
    """Answer questions until the service closes the connection, or this process has grown."""
    with connection, connection.makefile("rb") as questions:
        started = resident_bytes()
        while line := questions.readline():
            question = Question.model_validate_json(line)
            outcome, content = _answer(question, questions.read(question.bytes), connection)
            last = (
                outcome == "out_of_memory"
                or question.kind in OPERATIONS
                or resident_bytes() - started > KEPT_BYTES
            )
            header = AnswerHeader(outcome=outcome, bytes=len(content), last=last)
            try:
                connection.sendall(header.model_dump_json().encode() + b"\n")
                connection.sendall(content)
            except BrokenPipeError:  # the service has stopped, or does not wait any longer
                return
            if last:
                return


def _answer(question: Question, body: bytes, connection: socket.socket) -> tuple[Outcome, bytes]:
    """Answer within the question's limits; when its CPU time is over, SIGPROF ends the process."""
    signal.setitimer(signal.ITIMER_PROF, question.cpu_seconds)
    try:
        with at_most(question.memory_bytes):
            if (answer := ANSWERS.get(question.kind)) is not None:
                return "answer", answer(body)
            resource.setrlimit(resource.RLIMIT_FSIZE, (question.file_bytes,) * 2)
            return "answer", OPERATIONS[question.kind](body, ProgressSender(connection))
    except tuple(PROBLEMS.values()) as problem:
        return "problem", SerializedProblem.of(problem).model_dump_json().encode()
    except MemoryError:
        return "out_of_memory", b""
    except Exception as error:  # noqa: BLE001 - any error is reported to the service
        if is_disk_full(error):
            full = InsufficientStorageError(disk_full_message(error))
            return "problem", SerializedProblem.of(full).model_dump_json().encode()
        traceback.print_exc()
        return "broken", b""
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _warm_up() -> None:
    """Answer a small question, so that compiled loops are loaded before the first fork."""
    for precision in ("float32", "float64"):
        question = {
            "model": {
                "layers": [
                    {"kind": "linear", "out_features": 2},
                    {"kind": "sigmoid"},
                    {"kind": "linear", "out_features": 2},
                ]
            },
            "loss": "softmax_cross_entropy",
            "inputs": [[0.0], [1.0]],
            "targets": [0, 1],
            "precision": precision,
            "per_example": True,
        }
        ANSWERS["gradients"](json.dumps(question).encode())


if __name__ == "__main__":
    sys.exit(main())
