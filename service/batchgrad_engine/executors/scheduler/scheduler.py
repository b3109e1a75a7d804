"""Who computes what, who is late, who was lost; how numbers travel is each line's matter."""

import selectors
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from batchgrad_engine.executors.protocol import (
    EventSink,
    ExecutorEvent,
    Interrupted,
    Range,
)
from batchgrad_engine.executors.scheduler.protocol import Lost, StepRequest, WorkerPool
from batchgrad_engine.executors.scheduler.stragglers import (
    LATE_SECONDS,
    InFlightTask,
    InFlightTracker,
)
from batchgrad_engine.failures import WorkersLost
from batchgrad_workers.arrays import Array
from batchgrad_workers.reduction.sharding import split, sums
from batchgrad_workers.runtime.ipc import Work
from batchgrad_workers.runtime.shard import RangeSums

POLL_SECONDS = 0.25
"""How often a wait looks whether the engine has to go, and whether somebody fell silent."""

TELL_SECONDS = 10.0
"""How often events tell of late workers."""

MOST_LOSSES = 5
"""So many workers may be lost one after another with the same microbatches."""


@dataclass
class Task:
    """A range that is not answered yet: who computes it, since when; who was lost with it."""

    losses: int = 0
    holders: list[Any] = field(default_factory=list)
    since: float = 0.0


class Scheduler:
    """Hands out ranges and gathers sums; what a lost worker held is cut up among the others.

    A late worker's range is given to an idle one as well, and the first answer counts: the bits
    are the same. Until the late one has answered, nothing more is asked of it.
    """

    def __init__(
        self,
        team: WorkerPool,
        interrupted: Callable[[], bool],
        silence_seconds: float,
        tell: EventSink,
    ) -> None:
        self._team = team
        self._interrupted = interrupted
        self._silence = silence_seconds
        self._tell = tell
        self._calls = 0
        self._call: StepRequest | None = None
        self._debts = InFlightTracker(silence_seconds)
        self._looked_at = monotonic()
        self._missing: dict[Range, Task] = {}
        self._results: list[RangeSums[Any]] = []
        self._doubled = 0
        self._told_at = -TELL_SECONDS

    def free(self) -> list[Any]:
        """Workers who owe no answer; late ones that have come meanwhile are heard.

        First those of this machine: what has many sums is best computed there.
        """
        self._gather(0)
        free = [worker for worker in self._team.alive if not self._debts.owes(worker)]
        return sorted(free, key=lambda worker: worker.line.transport != "shared_memory")

    def compute(
        self, work: Work, step: int, parameters: Array, ranges: Sequence[Range]
    ) -> list[RangeSums[Any]]:
        """Every range by somebody, in any order.

        Raises:
            Interrupted, NoWorkers: as `WorkerPool.somebody`.
            WorkersLost: some of it ends whoever computes it.
            MemoryError, RuntimeError: a worker failed at its work.
        """
        self._debts.keep(self._team.alive)
        self._calls += 1
        call = self._call = StepRequest(self._calls, work, step, parameters)
        last = max((stop for _, stop in ranges), default=0)
        dearest_first = sorted(ranges, key=lambda each: -sums(*each, last))
        self._missing = {each: Task() for each in dearest_first}
        self._results = []
        try:
            while self._missing:
                self._hand_out(call)
                self._gather(LATE_SECONDS / 2)
                self._double(call)
        finally:
            self._call, self._missing = None, {}
        return self._results

    def _hand_out(self, call: StepRequest) -> None:
        """Give away what nobody computes, as far as somebody is free."""
        while self._todo():
            self._team.somebody()
            team = self.free()  # who was lost is known only now
            todo = self._todo()
            if not team:
                if len(todo) < len(self._missing):
                    return
                team = list(self._team.alive)  # all of them are late
            for work, worker in zip(todo, team, strict=False):
                self._ask(call, work, worker)

    def _todo(self) -> list[Range]:
        """What nobody computes, first what lost most workers: if it ends all, few find out."""
        todo = [work for work, piece in self._missing.items() if not piece.holders]
        return sorted(todo, key=lambda work: -self._missing[work].losses)

    def _ask(self, call: StepRequest, work: Range, worker: Any) -> None:
        """Have a range computed; nothing if one of both is gone meanwhile."""
        if work not in self._missing or worker not in self._team.alive:
            return
        now = monotonic()
        piece = self._missing[work]
        piece.holders.append(worker)
        piece.since = now
        try:
            worker.line.ask(call, work)
        except Lost as loss:
            self._lose(worker, "died", str(loss))
        else:
            self._debts.add(worker, InFlightTask(call.work, work, now, 2.0**piece.losses))
            worker.heard_at = now

    def _gather(self, seconds: float) -> None:
        """Hear those who have an answer, or who have ended; wait for the first one so long.

        Raises:
            Interrupted: the engine has to go, and somebody is waited for.
        """
        owing = self._owing()
        if not owing:
            return
        for worker in _readable(owing, seconds):
            self._hear(worker)
        if monotonic() - self._looked_at > POLL_SECONDS:
            self._looked_at = monotonic()
            if self._interrupted():
                raise Interrupted
            for worker in self._team.silent(self._owing()):
                self._lose(worker, "silent", f"no sign of life for {self._silence:g} s")
            for worker, since in self._debts.overdue(self._owing(), monotonic()):
                detail = f"it answers pings, but has owed an answer for {since:.0f} s"
                self._lose(worker, "silent", detail)

    def _owing(self) -> list[Any]:
        return [worker for worker in self._team.alive if self._debts.owes(worker)]

    def _hear(self, worker: Any) -> None:
        """Take in one answer, unless somebody else was quicker."""
        asked = self._debts.settle(worker, monotonic())
        try:
            answer = worker.line.answer(self._call)
        except Lost as loss:
            self._lose(worker, "died", str(loss))
            return
        except Exception as error:
            piece = self._missing.get(asked.microbatches)
            if piece and piece.holders == [worker]:
                raise
            detail = f"it failed at what another one computes as well: {type(error).__name__}"
            self._lose(worker, "died", detail)
            return
        worker.heard_at = monotonic()
        if answer and self._missing.pop((answer.start, answer.stop), None):
            self._results.append(answer)

    def _double(self, call: StepRequest) -> None:
        """Let idle workers compute what is late."""
        now = monotonic()
        held = [
            (work, piece.holders[0], now - piece.since)
            for work, piece in self._missing.items()
            if len(piece.holders) == 1
        ]
        late = self._debts.late(call.work, held, self._team.alive)
        for work, worker in zip(late, self.free() if late else [], strict=False):
            self._doubled += work[1] - work[0]
            self._ask(call, work, worker)
        if self._doubled and now - self._told_at > TELL_SECONDS:
            text = (
                "A worker was late; an idle one computed the same, and the first answer counts. "
                f"Told at most every {TELL_SECONDS:g} s."
            )
            data = {"reason": "slow", "microbatches": self._doubled, "detail": text}
            self._tell(ExecutorEvent("retry", data))
            self._doubled, self._told_at = 0, now

    def _lose(self, worker: Any, reason: str, detail: str) -> None:
        """Strike a worker off; what it alone has computed is cut up for those who are left.

        Raises:
            WorkersLost: it was one too many.
        """
        self._team.lose(worker, reason, detail)
        for work, piece in list(self._missing.items()):
            if worker not in piece.holders:
                continue
            piece.holders.remove(worker)
            piece.losses += 1
            if not piece.holders:
                if self._call and piece.losses >= MOST_LOSSES:
                    raise WorkersLost(self._call.step, work, piece.losses, f"{reason}: {detail}")
                del self._missing[work]
                self._missing |= {each: Task(piece.losses) for each in self._again(work, reason)}

    def _again(self, work: Range, reason: str) -> list[Range]:
        """A lost range in pieces for those who are left."""
        pieces = split(*work, max(1, len(self._team.alive)))
        data = {"reason": reason, "microbatches": work[1] - work[0], "pieces": len(pieces)}
        self._tell(ExecutorEvent("retry", data))
        return pieces


def _readable(workers: Sequence[Any], seconds: float) -> list[Any]:
    with selectors.PollSelector() as selector:
        for worker in workers:
            selector.register(worker.line, selectors.EVENT_READ, worker)
        return [key.data for key, _ in selector.select(seconds)]
