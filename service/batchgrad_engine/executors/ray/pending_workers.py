"""Launch workers and wait until they are ready; after a failure, wait longer before each retry."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Generic

from batchgrad_engine.executors.ray.placement import WorkerSlot
from batchgrad_engine.executors.ray.protocol import G, StartFailed, StartTimedOut
from batchgrad_engine.executors.ray.worker_events import build_difference
from batchgrad_workers.runtime.actor import Identity
from batchgrad_workers.system.backoff import Backoff

RETRY_SECONDS = 2.0
"""How long a slot stays empty after its worker failed to start; doubles with each failure."""

MAX_RETRY_SECONDS = 300.0


class StartTimer:
    """Limits how long a worker may take to start, counted from when it has its CPUs."""

    def __init__(
        self,
        seconds: float,
        has_process: Callable[[], bool] | None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`has_process` says whether it has its CPUs; None if it needs none."""
        self.waits_for_cpus = False
        self._seconds = seconds
        self._has_process = has_process
        self._clock = clock
        self._started_at = self._checked_at = clock()

    def check(self) -> None:
        """Raises StartTimedOut after the limit. From time to time, checks for its process."""
        now = self._clock()
        if self._has_process and now - self._checked_at > self._seconds / 6:
            self._checked_at = now
            self.waits_for_cpus = not self._has_process()
        if self.waits_for_cpus:
            self._started_at = now
        elif now - self._started_at > self._seconds:
            raise StartTimedOut(f"it did not start within {self._seconds:g} s")


@dataclass
class NodeFailures:
    """Failed starts on one node since a worker was last ready there."""

    backoff: Backoff = field(default_factory=lambda: Backoff(RETRY_SECONDS, MAX_RETRY_SECONDS))
    texts: set[str] = field(default_factory=set)


class PendingWorkers(Generic[G]):
    """Workers that were launched and are not ready yet. A failing node delays no other node."""

    def __init__(
        self,
        start: Callable[[int, WorkerSlot], G],
        wait: Callable[[Sequence[G], float], None],
        clock: Callable[[], float] = monotonic,
        *,
        same_build: bool = False,
    ) -> None:
        """`start` launches a worker with a number; `wait` is `WorkerLauncher.wait`.

        With `same_build`, a worker fails that may round otherwise than the engine.
        """
        self._same_build = same_build
        self.starting: list[G] = []
        self.last_failure = ""
        """The text of the last failure that has a known reason."""
        self._start = start
        self._wait = wait
        self._clock = clock
        self._launched = 0
        self._failures: dict[str, NodeFailures] = {}
        self._blocked: list[tuple[float, WorkerSlot]] = []  # until when

    def launch(self, missing: Counter[WorkerSlot]) -> None:
        """Launch a worker for each of these slots, except where one has just failed."""
        now = self._clock()
        self._blocked = [(until, slot) for until, slot in self._blocked if until > now]
        for slot in (missing - Counter(slot for _, slot in self._blocked)).elements():
            self.starting.append(self._start(self._launched, slot))
            self._launched += 1

    def poll(self, seconds: float) -> tuple[list[tuple[G, Identity]], list[tuple[G, str]]]:
        """Wait up to `seconds` for progress; returns (ready workers, failed workers with texts).

        A failure that repeats on a node is returned once.
        """
        if self.starting or seconds:
            self._wait(self.starting, seconds)
        ready, failed = [], []
        for worker in list(self.starting):
            try:
                identity = worker.poll_ready()
                if identity is None:
                    continue
                if self._same_build and (difference := build_difference(identity)):
                    raise StartFailed(difference)  # noqa: TRY301  # as if it had not started
                ready.append((worker, identity))
                self._failures.pop(worker.slot.node, None)
            except StartFailed as error:
                if not isinstance(error, StartTimedOut):
                    self.last_failure = str(error)
                worker.kill()
                if self._note_failure(worker.slot, str(error)):
                    failed.append((worker, str(error)))
            self.starting.remove(worker)
        return ready, failed

    def stop(self, worker: G) -> None:
        """Stop a worker that is no longer needed."""
        self.starting.remove(worker)
        worker.kill()

    def _note_failure(self, slot: WorkerSlot, text: str) -> bool:
        """Leave the slot empty for a while; returns whether the failure is new on this node."""
        failures, now = self._failures.setdefault(slot.node, NodeFailures()), self._clock()
        if now >= failures.backoff.until:  # failures at the same time count as one
            failures.backoff.fail(now)
        self._blocked.append((failures.backoff.until, slot))
        is_new = text not in failures.texts
        failures.texts.add(text)
        return is_new
