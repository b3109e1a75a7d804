"""`python -m batchgrad_engine.main`: the engine process of one attempt at a job."""

import fcntl
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import BinaryIO, TextIO

from batchgrad_engine import logs
from batchgrad_engine.attempt import run_attempt
from batchgrad_engine.commands import CommandReader
from batchgrad_engine.executors.protocol import ClusterLost
from batchgrad_engine.failures import disk_full
from batchgrad_engine.message_writer import MessageWriter
from batchgrad_engine.messages import (
    CLUSTER_LOST,
    ClusterFound,
    ClusterWanted,
    Start,
)
from batchgrad_workers.system.disk import is_disk_full
from batchgrad_workers.system.processes import block_sigterm

LOCKED = 73
"""Exit code: another engine holds this job's lock."""

_log = logging.getLogger("batchgrad.engine")


def main() -> int:
    """Read `Start`, take the job's lock, train; return the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the service's to handle
    block_sigterm()
    writer = MessageWriter(_keep_stdout_for_messages())
    start = Start.model_validate_json(sys.stdin.readline())
    logs.configure(start)
    try:
        return _train_locked(start, writer)
    except OSError as error:
        if not is_disk_full(error):
            raise
        writer.send(disk_full(error))
        return 0


def _train_locked(start: Start, writer: MessageWriter) -> int:
    with (start.job_directory / "engine.lock").open("a+") as lock:
        if not _acquire(lock, start):
            _log.error("another engine holds this job's lock")
            return LOCKED
        try:
            commands = CommandReader(sys.stdin, writer.stored)

            def find_cluster(workers: int, interrupted: Callable[[], bool]) -> ClusterFound:
                writer.send(ClusterWanted(workers=workers))
                return commands.cluster(interrupted)

            run_attempt(
                start, commands, writer.send, lambda: writer.save_unstored(start), find_cluster
            )
        except ClusterLost as error:
            _log.error("the Ray cluster is gone: %s", error)  # without a traceback
            return CLUSTER_LOST
        finally:
            writer.save_unstored(start)
    return 0


def _keep_stdout_for_messages() -> BinaryIO:
    """Return a stream on the real stdout, and send everything else that prints to stderr."""
    messages = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return messages


def _acquire(lock: TextIO, start: Start) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    lock.truncate(0)
    owner = {"pid": os.getpid(), "pgid": os.getpgid(0), "attempt": start.attempt}
    lock.write(json.dumps(owner) + "\n")
    lock.flush()
    return True


if __name__ == "__main__":
    code = main()
    if code == CLUSTER_LOST:
        os._exit(code)  # Ray's exit hook would wait for the head; everything is written by now
    sys.exit(code)
