"""Preflights of PyTorch jobs, remembered as long as nothing that they depend on changes."""

import hashlib
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress

import anyio.to_thread
from anyio import CapacityLimiter

from batchgrad.contract import JobSpec
from batchgrad_engine.preflight.messages import Examined, Preflighted, Request
from batchgrad_service.problems import InvalidError
from batchgrad_service.validation.job_data import JobData

MAX_RUNNING = 2
REMEMBERED = 64
_INDIFFERENT = {
    *("name", "labels", "optimizer", "epochs", "steps", "workers", "threads", "num_gpus"),
    *("early_stopping", "keep", "checkpoint_interval_seconds", "max_restarts", "dataset"),
    "initial_parameters",
}
"""Keys of a spec on which no preflight depends; datasets and parameters go by their digests."""


class Preflights:
    """Examines tasks with `run`, at most MAX_RUNNING at once; others wait."""

    def __init__(self, run: Callable[[Request], Preflighted]) -> None:
        self._run = run
        self._limiter = CapacityLimiter(MAX_RUNNING)
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Examined] = OrderedDict()

    async def examine(self, request: Request, data: JobData) -> Examined:
        """What a preflight finds out about the task.

        Raises:
            InvalidError: the task can't be built or trained; the message says why.
        """
        return await anyio.to_thread.run_sync(
            self._examine, request, data, limiter=self._limiter, abandon_on_cancel=False
        )

    def _examine(self, request: Request, data: JobData) -> Examined:
        key = _key(request, data)
        with self._lock:
            known = self._known.get(key)
        if known is not None and _is_current(known):
            return known
        answer = self._run(request)
        if answer.examined is None:
            problem = answer.problem
            if problem is None:
                raise TypeError("A preflight answers what it found, or a problem.")
            raise InvalidError.field(problem.pointer, problem.detail, code="bad_task")
        with self._lock:
            self._known[key] = answer.examined
            self._known.move_to_end(key)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return answer.examined


def _key(request: Request, data: JobData) -> str:
    """All that decides the answer, but the files of code."""
    spec: JobSpec = request.spec
    start = request.initial_parameters
    parts = [
        spec.model_dump(mode="json", exclude=_INDIFFERENT),
        data.dataset.digest,
        data.validation.dataset.digest if data.validation else None,
        hashlib.sha256(start.read_bytes()).hexdigest() if start else None,
        str(request.code),
        request.memory_bytes,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _is_current(known: Examined) -> bool:
    """Whether the files of code are as they were."""
    with suppress(FileNotFoundError):
        found = {path: os.stat(path) for path in known.files}  # noqa: PTH116 (many texts)
        return all(
            known.files[path] == (each.st_mtime_ns, each.st_size) for path, each in found.items()
        )
    return False
