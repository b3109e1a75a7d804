"""Who computes what, and who was lost; how the numbers travel is each worker's `Line`'s matter."""

import selectors
from collections import defaultdict
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, NamedTuple, Protocol

from batchgrad_service.engine.executors.protocol import Happening, Interrupted, Range
from batchgrad_service.engine.sharding import split
from batchgrad_workers.arrays import Array
from batchgrad_workers.shard import RangeSums
from batchgrad_workers.wire import Work

POLL_SECONDS = 0.25
"""How often a wait looks whether the engine has to go, and whether somebody fell silent."""


class Lost(Exception):
    """The worker at the other end is gone; the text says how that was noticed."""


class Call(NamedTuple):
    """What all workers are asked at the same time; `number` tells late answers from its own."""

    number: int
    work: Work
    step: int
    parameters: Array


class Line(Protocol):
    """The way to one worker and back. A range that was asked for is answered in its time."""

    def fileno(self) -> int:
        """A descriptor that is readable when `answers` has something to say."""

    def ask(self, call: Call, work: Range) -> None:
        """Have a range computed. Raises Lost."""

    def answers(self, call: Call) -> list[RangeSums[Any]]:
        """What has come; answers to earlier calls are left out. Raises Lost, or what went wrong."""

    def close(self) -> None:
        """Let go of it."""


class Worker(Protocol):
    """Somebody who computes."""

    number: int
    line: Line
    heard_at: float


class Team(Protocol):
    """Those who are there, and how they change."""

    @property
    def alive(self) -> Sequence[Any]:
        """`Worker`s, none of them twice."""

    def somebody(self) -> None:
        """Wait until at least one is alive. Raises NoWorkers, Interrupted."""

    def silent(self, workers: Sequence[Any]) -> list[Any]:
        """Those of them who compute and give no sign of life."""

    def lose(self, worker: Any, reason: str, detail: str) -> None:
        """Strike one off."""


class Dispatch:
    """Hands out ranges and gathers sums; what a lost worker held is cut up among the others."""

    def __init__(self, team: Team, interrupted: Callable[[], bool], silence_seconds: float) -> None:
        self.happenings: list[Happening] = []
        self._team = team
        self._interrupted = interrupted
        self._silence = silence_seconds
        self._calls = 0
        self._todo: list[Range] = []
        self._waiting: defaultdict[int, list[Range]] = defaultdict(list)

    def compute(
        self, work: Work, step: int, parameters: Array, ranges: Sequence[Range]
    ) -> list[RangeSums[Any]]:
        """Every range by somebody, in any order.

        Raises:
            Interrupted, NoWorkers: as `Team.somebody`.
            MemoryError, RuntimeError: a worker failed at its work.
        """
        self._calls += 1
        call = Call(self._calls, work, step, parameters)
        self._todo, self._waiting = list(ranges), defaultdict(list)
        results: list[RangeSums[Any]] = []
        while self._todo or self._waiting:
            self._hand_out(call)
            results += self._gather(call)
        return results

    def _hand_out(self, call: Call) -> None:
        """Give away all that is to do, to everybody in turn."""
        turn = 0
        while self._todo:
            self._team.somebody()
            worker: Worker = self._team.alive[turn % len(self._team.alive)]
            turn += 1
            self._waiting[worker.number].append(self._todo.pop(0))
            try:
                worker.line.ask(call, self._waiting[worker.number][-1])
                worker.heard_at = monotonic()
            except Lost as loss:
                self._lose(worker, "died", str(loss))

    def _gather(self, call: Call) -> list[RangeSums[Any]]:
        """Wait for what comes next, be it answers or the end of somebody; or a little while."""
        busy = [worker for worker in self._team.alive if worker.number in self._waiting]
        ready = _readable(busy)
        results: list[RangeSums[Any]] = []
        for worker in ready:
            try:
                answers = worker.line.answers(call)
            except Lost as loss:
                self._lose(worker, "died", str(loss))
                continue
            worker.heard_at = monotonic()
            mine = self._waiting[worker.number]
            for answer in answers:
                mine.remove((answer.start, answer.stop))
            if not mine:
                del self._waiting[worker.number]
            results += answers
        if not ready:
            if self._interrupted():
                raise Interrupted
            for worker in self._team.silent(busy):
                self._lose(worker, "silent", f"no sign of life for {self._silence:g} s")
        return results

    def _lose(self, worker: Worker, reason: str, detail: str) -> None:
        self._team.lose(worker, reason, detail)
        for work in self._waiting.pop(worker.number, []):
            self._todo += self._again(work, reason)

    def _again(self, work: Range, reason: str) -> list[Range]:
        """A lost range in pieces for those who are left."""
        pieces = split(*work, max(1, len(self._team.alive)))
        data = {"reason": reason, "microbatches": work[1] - work[0], "pieces": len(pieces)}
        self.happenings.append(Happening("retry", data))
        return pieces


def _readable(workers: Sequence[Any]) -> list[Any]:
    with selectors.PollSelector() as selector:
        for worker in workers:
            selector.register(worker.line, selectors.EVENT_READ, worker)
        return [key.data for key, _ in selector.select(POLL_SECONDS)]
