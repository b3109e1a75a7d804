"""How a job may be spread over cores and nodes, and whether trying that can pay. No clock here."""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Literal, NamedTuple

HEAD_START = 1.05
"""Ray has to be this much faster than the engine alone: it needs processes and memory more."""


class ParallelConfig(NamedTuple):
    """So many Ray workers, or none at all, with so many threads each."""

    workers: int
    threads: int

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        if not self.workers:
            return f"inline, {threads}"
        return f"{self.workers} Ray worker{'s' if self.workers > 1 else ''} x {threads}"


def inline_plans(threads: int | Literal["auto"], cores: int) -> list[ParallelConfig]:
    """1, 2, 4, … threads and one for each core; or just as many as the job wants."""
    if threads != "auto":
        return [ParallelConfig(0, threads)]
    return [
        ParallelConfig(0, count)
        for count in sorted({cores, *(1 << power for power in range(cores.bit_length()))})
    ]


def ray_plans(
    threads: int | Literal["auto"], cpus_by_node: Sequence[int], microbatches: int
) -> list[ParallelConfig]:
    """One worker a core; on several nodes also one worker a node. Nobody would be without work."""
    if threads != "auto":
        workers = sum(cpus // threads for cpus in cpus_by_node)
        return [ParallelConfig(min(workers, microbatches), threads)] if workers else []
    plans = [ParallelConfig(min(sum(cpus_by_node), microbatches), 1)]
    if len(cpus_by_node) > 1:
        plans.append(ParallelConfig(min(len(cpus_by_node), microbatches), min(cpus_by_node)))
    return [plan for plan in dict.fromkeys(plans) if plan.workers]


def fastest(seconds: Mapping[ParallelConfig, float]) -> ParallelConfig:
    """The plan whose best step was the shortest; Ray has to beat HEAD_START."""
    return min(seconds, key=lambda plan: seconds[plan] * (HEAD_START if plan.workers else 1))


def could_win_seconds(
    seconds: Mapping[ParallelConfig, float], *, steps_left: int, microbatches: int, cpus: int | None
) -> float:
    """What Ray could save at the very best: one thread's work shared without any loss.

    `cpus` is how many CPUs would share it; None is any number.
    """
    best = min(seconds.values())
    alone = seconds.get(ParallelConfig(0, 1), best)
    rounds = 1 if cpus is None else ceil(microbatches / cpus)
    return steps_left * max(0.0, best - alone * rounds / microbatches)
