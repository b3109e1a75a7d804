"""CPU time as on one machine, so that a limit in seconds means the same on slow and fast ones."""

import time
from collections.abc import Callable

REFERENCE_SECONDS = 0.01
"""What `reference` takes on the machine whose seconds the limits are in."""


def reference() -> None:
    """Format and count as a service does, a fixed number of times."""
    names = [f"name_{number % 50}" for number in range(2_000)]
    counts: dict[str, int] = {}
    lines = []
    for _ in range(10):
        for number, name in enumerate(names):
            counts[name] = counts.get(name, 0) + number
            lines.append(f'{name}{{job_id="{number}"}} {number * 0.1}')
    "\n".join(lines).encode()


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds that this process spends on `work`."""
    began = time.process_time()
    work()
    return time.process_time() - began


def slowness(rounds: int = 5) -> float:
    """Return how many times as long the reference takes as on that machine."""
    return min(cpu_seconds(reference) for _ in range(rounds)) / REFERENCE_SECONDS


def least_seconds(measure: Callable[[], float], rounds: int = 10) -> float:
    """Return the least of `measure()`, in seconds of a machine of `REFERENCE_SECONDS`.

    CPU time does not count other processes, but it grows where they share caches or where the
    processor is slow; the reference, timed by turns with `measure`, grows as well.
    """
    found, references = [], []
    for _ in range(rounds):
        references.append(cpu_seconds(reference))
        found.append(measure())
    return min(found) / min(references) * REFERENCE_SECONDS
