"""Run contestants alternately: A B C, A B C, …; only one computes at a time."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Protocol

from benchmarks.contestants import Contestant, Ours, spec
from benchmarks.peers import Running
from benchmarks.results import Burst, Comparison, Measured
from benchmarks.service import Jobs, Service
from benchmarks.workloads import Workload

SETTLE_SECONDS = 0.1
"""Pause between turns: a thread pool may spin for a moment after its last task."""

LARGE = frozenset({"per-example"})
"""Groups whose contestants start one after the other: each holds N × P numbers in memory."""


class Ready(Protocol):
    """A contestant that is ready to run bursts."""

    placement: str

    def prepare(self) -> dict[str, str]: ...
    def burst(self, seconds: float) -> Burst: ...
    def peak_bytes(self) -> int: ...
    def close(self) -> None: ...


def compare(
    workload: Workload,
    group: str,
    contestants: Sequence[Contestant],
    *,
    service: Service,
    rounds: int,
    seconds: float,
    tell: Callable[[str], None],
) -> tuple[Comparison, dict[str, str]]:
    """Run `contestants` alternately; return the comparison and the versions of their libraries."""
    with ExitStack() as stack:
        ready: dict[str, Ready] = {}
        versions: dict[str, str] = {}
        for each in contestants:
            tell(f"{workload.name}: preparing {each.name}")
            made: Ready = (
                Jobs(each, spec(each, workload, service.dataset(workload)), service)
                if isinstance(each, Ours)
                else Running(each, workload.name)
            )
            stack.callback(made.close)
            ready[each.name] = made
            if group in LARGE:
                versions |= made.prepare()
        if group not in LARGE:
            for made in ready.values():
                versions |= made.prepare()
        bursts = take_turns(ready, rounds, seconds, tell)
        measured = {
            each.name: Measured(
                each.title,
                bursts[each.name],
                ready[each.name].peak_bytes(),
                ready[each.name].placement,
            )
            for each in contestants
        }
    return Comparison(workload.name, group, workload.batch_size, measured), versions


def take_turns(
    ready: dict[str, Ready],
    rounds: int,
    seconds: float,
    tell: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, list[Burst]]:
    """The bursts of each contestant, one for each round, in the order of the rounds."""
    bursts: dict[str, list[Burst]] = {name: [] for name in ready}
    for number in range(1, rounds + 1):
        for name, contestant in ready.items():
            sleep(SETTLE_SECONDS)
            burst = contestant.burst(seconds)
            bursts[name].append(burst)
            tell(f"round {number}/{rounds}  {name:14} {burst.step_seconds * 1e3:10.3f} ms a step")
    return bursts
