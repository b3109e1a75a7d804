"""The ranges of one request that have no result yet: which are unassigned, running or lost."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic

from batchgrad_engine.executors.protocol import Range
from batchgrad_engine.executors.scheduler.protocol import W
from batchgrad_workers.reduction.sharding import node_count


@dataclass
class Task(Generic[W]):
    """A range: the workers that compute it, since when, and how many in a row were lost with it."""

    losses: int = 0
    workers: list[W] = field(default_factory=list)
    started_at: float = 0.0


class Tasks(Generic[W]):
    """All ranges without a result. Times are by `monotonic`."""

    def __init__(self, ranges: Sequence[Range] = ()) -> None:
        """The ranges with most sums are assigned first."""
        last = max((stop for _, stop in ranges), default=0)
        costliest_first = sorted(ranges, key=lambda each: -node_count(*each, last))
        self._tasks: dict[Range, Task[W]] = {each: Task() for each in costliest_first}

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, microbatches: Range) -> bool:
        return microbatches in self._tasks

    def unassigned(self) -> list[Range]:
        """Ranges that no worker computes, most failed first: a poison range then ends few."""
        unassigned = [each for each, task in self._tasks.items() if not task.workers]
        return sorted(unassigned, key=lambda each: -self._tasks[each].losses)

    def running_once(self, now: float) -> list[tuple[Range, W, float]]:
        """Ranges that exactly one worker computes, that worker, and for how many seconds."""
        return [
            (microbatches, task.workers[0], now - task.started_at)
            for microbatches, task in self._tasks.items()
            if len(task.workers) == 1
        ]

    def runs_only_on(self, worker: W, microbatches: Range) -> bool:
        """Whether the range has no result yet and no other worker computes it."""
        task = self._tasks.get(microbatches)
        return task is not None and task.workers == [worker]

    def assign(self, microbatches: Range, worker: W, now: float) -> int:
        """Note that `worker` computes the range; returns how many workers were lost with it."""
        task = self._tasks[microbatches]
        task.workers.append(worker)
        task.started_at = now
        return task.losses

    def complete(self, microbatches: Range) -> bool:
        """Remove a range that has a result; returns whether it is the first one."""
        return self._tasks.pop(microbatches, None) is not None

    def lose(self, worker: W) -> list[tuple[Range, int]]:
        """Remove a lost worker; the ranges that only it computed, and how often each was lost."""
        lost = []
        for microbatches, task in self._tasks.items():
            if worker in task.workers:
                task.workers.remove(worker)
                task.losses += 1
                if not task.workers:
                    lost.append((microbatches, task.losses))
        return lost

    def split(self, microbatches: Range, pieces: Sequence[Range]) -> None:
        """Replace a range by its pieces, which keep its losses."""
        losses = self._tasks.pop(microbatches).losses
        self._tasks |= {each: Task(losses) for each in pieces}
