"""Configurations of workers and threads to measure, and how much time Ray could save. No clock."""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Literal, NamedTuple

RAY_MARGIN = 1.05
"""Ray must be faster than the engine alone by this factor: it needs more processes and memory."""


class ParallelConfig(NamedTuple):
    """A number of Ray workers, 0 for the engine alone, and the threads of each."""

    workers: int
    threads: int

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        if not self.workers:
            return f"inline, {threads}"
        return f"{self.workers} Ray worker{'s' if self.workers > 1 else ''} x {threads}"


def inline_configs(threads: int | Literal["auto"], cores: int) -> list[ParallelConfig]:
    """1, 2, 4, … threads and one per core; or only the number that the job sets."""
    if threads != "auto":
        return [ParallelConfig(0, threads)]
    return [
        ParallelConfig(0, count)
        for count in sorted({cores, *(1 << power for power in range(cores.bit_length()))})
    ]


def ray_configs(
    threads: int | Literal["auto"], cpus_by_node: Sequence[int], microbatches: int
) -> list[ParallelConfig]:
    """One worker per core; with several nodes also one per node. At most one per microbatch."""
    if threads != "auto":
        workers = sum(cpus // threads for cpus in cpus_by_node)
        return [ParallelConfig(min(workers, microbatches), threads)] if workers else []
    configs = [ParallelConfig(min(sum(cpus_by_node), microbatches), 1)]
    if len(cpus_by_node) > 1:
        configs.append(ParallelConfig(min(len(cpus_by_node), microbatches), min(cpus_by_node)))
    return [config for config in dict.fromkeys(configs) if config.workers]


def fastest(seconds: Mapping[ParallelConfig, float]) -> ParallelConfig:
    """The configuration with the shortest best step; Ray only if faster by RAY_MARGIN."""
    return min(seconds, key=lambda config: seconds[config] * (RAY_MARGIN if config.workers else 1))


def max_saving_seconds(
    seconds: Mapping[ParallelConfig, float], *, steps_left: int, microbatches: int, cpus: int | None
) -> float:
    """The most that Ray could save: one thread's work, divided among CPUs without any loss.

    `cpus` is the number of CPUs; None for an unlimited number.
    """
    best = min(seconds.values())
    one_thread = seconds.get(ParallelConfig(0, 1), best)
    rounds = 1 if cpus is None else ceil(microbatches / cpus)
    return steps_left * max(0.0, best - one_thread * rounds / microbatches)
