"""Step times of batchgrad by parameters, examples, threads and workers, through the service."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from benchmarks.contestants import INLINE, Ours, spec
from benchmarks.results import GrowthPoint
from benchmarks.rounds import Ready, take_turns
from benchmarks.service import Jobs, Service
from benchmarks.workloads import CLASSES, WORKLOADS, Workload, mlp

WIDTHS = (64, 128, 256, 512, 1024)
EXAMPLES = (128, 256, 512, 1024, 2048, 4096)
ROUNDS = 3


@dataclass(frozen=True)
class Point:
    """A job at one value of a series' variable."""

    series: str
    variable: str
    value: float
    workload: Workload
    ours: Ours

    @property
    def name(self) -> str:
        """Its name in progress lines."""
        return f"{self.variable}={self.value:g}"


def points() -> list[Point]:
    """All points that `make bench` measures."""
    wide = WORKLOADS["wide"]
    one = Ours("growth", "one thread, inline", INLINE)
    found = [
        Point("784-w-w-10, N = 1024, one thread", "P", _parameters(width), _of_width(width), one)
        for width in WIDTHS
    ]
    found += [Point("wide, one thread", "N", n, replace(wide, batch_size=n), one) for n in EXAMPLES]
    found += [
        Point(
            "wide, inline", "threads", n, wide, replace(one, settings={"workers": 0, "threads": n})
        )
        for n in (1, 2)
    ]
    found += [
        Point(
            "wide, one thread a worker (0: inline)", "workers", n, wide,
            replace(one, settings={"workers": n, "threads": 1}),
        )
        for n in (0, 1, 2)
    ]  # fmt: skip
    return found


def measure(service: Service, seconds: float, tell: Callable[[str], None]) -> list[GrowthPoint]:
    """Step times at every point; the points of one variable run alternately."""
    found: list[GrowthPoint] = []
    every = points()
    for variable in dict.fromkeys(point.variable for point in every):
        series = {point.name: point for point in every if point.variable == variable}
        ready: dict[str, Ready] = {
            name: Jobs(
                point.ours,
                spec(point.ours, point.workload, service.dataset(point.workload)),
                service,
            )
            for name, point in series.items()
        }
        for name, bursts in take_turns(ready, ROUNDS, seconds, tell).items():
            point = series[name]
            times = [burst.step_seconds for burst in bursts]
            found.append(GrowthPoint(point.series, variable, point.value, times))
    return found


def _of_width(width: int) -> Workload:
    return mlp(f"width-{width}", (784, width, width, CLASSES), 1024)


def _parameters(width: int) -> int:
    """P of the network 784-w-w-10."""
    return 785 * width + (width + 1) * width + (width + 1) * CLASSES
