"""`python -m batchgrad_service.questions.process FD`: makes the processes that answer questions.

It imports what they need and answers a question itself, so that they begin warm, by a fork of a few
milliseconds. FD is a Unix socket, over which each comes a socket to answer on. Ends with it.
"""

import gc
import json
import os
import signal
import socket
import sys
import traceback

from batchgrad_service.problems import BadRequestError, InvalidError
from batchgrad_service.questions.kinds import ANSWERS
from batchgrad_service.questions.protocol import Answered, Outcome, Question, SerializedProblem
from batchgrad_workers.runtime.threads import single_threaded_blas
from batchgrad_workers.system.process_memory import at_most, resident_bytes
from batchgrad_workers.system.processes import block_sigterm

KEPT_BYTES = 64 * 2**20
"""By how much a process may have grown and still answer another question."""


def main() -> int:
    """Fork whenever a socket comes."""
    block_sigterm()
    single_threaded_blas()
    _warm_up()
    gc.collect()
    gc.freeze()  # so that looking for garbage does not copy the pages that processes share
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # they end by themselves; nobody asks how
    with socket.socket(fileno=int(sys.argv[1])) as control:
        while True:
            message, descriptors, _, _ = socket.recv_fds(control, 1, 1)
            if not message:
                return 0
            if os.fork() == 0:
                control.close()
                _answer_all(socket.socket(fileno=descriptors[0]))
                os._exit(0)
            os.close(descriptors[0])


def _answer_all(line: socket.socket) -> None:
    """Answer questions until the service leaves, or this process has grown."""
    with line, line.makefile("rb") as questions:
        started = resident_bytes()
        while header := questions.readline():
            asked = Question.model_validate_json(header)
            outcome, content = _answer(asked, questions.read(asked.bytes))
            last = outcome == "out_of_memory" or resident_bytes() - started > KEPT_BYTES
            answered = Answered(outcome=outcome, bytes=len(content), last=last)
            try:
                line.sendall(answered.model_dump_json().encode() + b"\n")
                line.sendall(content)
            except BrokenPipeError:  # the service has stopped, or given the question up
                return
            if last:
                return


def _answer(asked: Question, body: bytes) -> tuple[Outcome, bytes]:
    """The answer within the question's limits; beyond its time SIGPROF ends the process."""
    signal.setitimer(signal.ITIMER_PROF, asked.cpu_seconds)
    try:
        with at_most(asked.memory_bytes):
            return "answer", ANSWERS[asked.kind](body)
    except (InvalidError, BadRequestError) as problem:
        return "problem", SerializedProblem.of(problem).model_dump_json().encode()
    except MemoryError:
        return "out_of_memory", b""
    except Exception:  # noqa: BLE001 - whatever it is, the service must learn of it
        traceback.print_exc()
        return "broken", b""
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _warm_up() -> None:
    """A question like those of the page, for nothing: loops are loaded or compiled."""
    for precision in ("float32", "float64"):
        asked = {
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
        ANSWERS["gradients"](json.dumps(asked).encode())


if __name__ == "__main__":
    sys.exit(main())
