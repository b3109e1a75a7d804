"""The measurements for the model, and the jobs to measure."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from benchmarks.stored import Stored
from benchmarks.workloads import Workload, mlp

INPUTS, CLASSES = 64, 10


class Case(NamedTuple):
    """A job: 64-width-width-10 on `hosts` hosts, or inline if `hosts` is 0.

    Links carry `megabits` per second; None: unlimited. A case is used to "fit" the model or to
    "check" it, never both.
    """

    purpose: Literal["fit", "check"]
    hosts: int
    megabits: int | None
    width: int
    batch_size: int
    microbatch_size: int
    threads: int = 1
    workers: int = 1
    """Workers on each host."""
    siblings: bool = False
    """Whether workers pass θ on and join sums among themselves."""

    @property
    def workload(self) -> Workload:
        """The network and its N."""
        widths = (INPUTS, self.width, self.width, CLASSES)
        return mlp(f"width-{self.width}", widths, self.batch_size)

    @property
    def parameters(self) -> int:
        """P, the number of parameters."""
        return self.width**2 + (INPUTS + CLASSES + 2) * self.width + CLASSES


CASES = (
    # One process: what computing, comparing and updating cost.
    Case("fit", 0, None, 100, 32, 32),
    Case("fit", 0, None, 100, 128, 32),
    Case("fit", 0, None, 100, 4096, 128),
    Case("fit", 0, None, 300, 256, 64),
    Case("fit", 0, None, 1000, 128, 32),
    Case("fit", 0, None, 1000, 512, 128),
    Case("fit", 0, None, 1700, 256, 64),
    Case("fit", 0, None, 3000, 128, 64),
    Case("fit", 0, None, 1000, 512, 128, threads=2),
    Case("fit", 0, None, 1700, 256, 64, threads=2),
    Case("check", 0, None, 600, 256, 64),
    Case("check", 0, None, 600, 256, 64, threads=2),
    Case("check", 1, None, 1000, 256, 64),
    # Links without a limit: what Ray costs for each message, object and byte.
    Case("fit", 2, None, 50, 64, 32),
    Case("fit", 2, None, 300, 64, 32),
    Case("fit", 2, None, 1000, 64, 32),
    Case("fit", 2, None, 1700, 64, 32),
    Case("fit", 2, None, 3000, 64, 32),
    Case("fit", 3, None, 50, 96, 32),
    Case("fit", 3, None, 1000, 96, 32),
    Case("fit", 3, None, 1700, 96, 32),
    Case("fit", 3, None, 50, 384, 32, workers=4),
    Case("fit", 3, None, 300, 384, 32, workers=4),
    # Links with one, of a bandwidth that is never checked: how far θ's way out and the sums' way
    # in overlap.
    Case("fit", 3, 300, 300, 192, 64),
    Case("fit", 3, 300, 1000, 192, 64),
    Case("fit", 3, 300, 1700, 192, 64),
    # Two others. M = 3 or 6: a sum from each host; M = 8 on three hosts: more of them.
    Case("check", 2, 100, 300, 128, 64),
    Case("check", 2, 100, 1000, 64, 32),
    Case("check", 2, 100, 1700, 256, 64),
    Case("check", 3, 100, 300, 384, 64),
    Case("check", 3, 100, 1000, 256, 32),
    Case("check", 3, 100, 1700, 96, 32),
    Case("check", 2, 1000, 300, 128, 64),
    Case("check", 2, 1000, 1000, 64, 32),
    Case("check", 2, 1000, 1700, 256, 64),
    Case("check", 3, 1000, 300, 384, 64),
    Case("check", 3, 1000, 1000, 256, 32),
    Case("check", 3, 1000, 1700, 96, 32),
    Case("check", 4, 100, 300, 256, 64, siblings=True),
    Case("check", 4, 100, 1000, 256, 64, siblings=True),
    Case("check", 4, 100, 1700, 128, 32, siblings=True),
    Case("check", 4, 1000, 1000, 256, 64, siblings=True),
    Case("check", 4, 1000, 1700, 512, 64, siblings=True),
)


@dataclass(frozen=True)
class Timed:
    """A case's typical seconds a step, by wall clock and by phase.

    `cpu_seconds` are the CPU seconds of each host's processes in a step, the head first;
    `other_cpus` is how many CPUs other processes of the machine used.
    """

    case: Case
    steps: int
    step_seconds: float
    phases: dict[str, float]
    cpu_seconds: list[float]
    other_cpus: float


@dataclass(frozen=True)
class Sent:
    """A transfer by plain TCP from one host to another."""

    megabits: int | None
    bytes: int
    seconds: float


@dataclass(frozen=True)
class Measurements(Stored):
    """A whole run. `add_seconds_per_byte` is for a += b with a larger than the caches."""

    machine: dict[str, Any]
    versions: dict[str, str]
    date: str
    add_seconds_per_byte: float
    sent: list[Sent]
    timed: list[Timed]
