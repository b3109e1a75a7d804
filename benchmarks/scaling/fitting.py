"""From what was measured to what things cost: non-negative least squares of relative errors."""

from collections.abc import Sequence
from dataclasses import fields, replace
from math import inf
from typing import NamedTuple

import numpy as np
from scipy.optimize import nnls

from benchmarks.scaling.measured import Case, Measurements, Timed
from benchmarks.scaling.model import BY_VALUE_BYTES, Cluster, Costs, Job, Step, share, step

BURST_BYTES = 128 * 2**10
"""What the tests' hosts let through at once, before `tc tbf` limits them."""

LONG_SECONDS = 0.01
ROUNDS = 10
"""Who computes at the same time depends on Ray's costs, which depend on that: so both are found
in turns."""

RAY = ("call", "call_worker", "objects", "objects_worker", "ray_byte")

NOTHING = Costs(**{field.name: 0.0 for field in fields(Costs)})


class Checked(NamedTuple):
    """A case that the model was not fitted to, in seconds a step."""

    case: Case
    measured: float
    predicted: float
    other_cpus: float

    @property
    def ratio(self) -> float:
        """Predicted over measured."""
        return self.predicted / self.measured


def fit(found: Measurements) -> Costs:
    """The costs, from the cases that are there for it."""
    fitted = [timed for timed in found.timed if timed.case.purpose == "fit"]
    alone = [timed for timed in fitted if not timed.case.hosts]
    costs = replace(
        NOTHING,
        add_byte=found.add_seconds_per_byte,
        link_share=_link_share(found),
        **_compute([timed for timed in alone if timed.case.threads == 1]),
        **_rest(alone),
    )
    ratios = [
        timed.phases["compute"] / share(costs, job(timed.case), _shares(timed), 1, Cluster(1))
        for timed in alone
        if timed.case.threads == 2
    ]
    costs = replace(costs, contention=float(np.mean(ratios)) - 1)
    cores = int(found.machine["cores"])
    together = [timed for timed in fitted if timed.case.hosts]
    free = [timed for timed in together if timed.case.megabits is None]
    limited = [timed for timed in together if timed.case.megabits is not None]
    for _ in range(ROUNDS):
        costs = replace(costs, **_ray(free, costs, cores))
        costs = replace(costs, overlap=_overlap(limited, costs, cores))
    return costs


def check(found: Measurements, costs: Costs) -> list[Checked]:
    """Every case that was kept for it."""
    cores = int(found.machine["cores"])
    return [
        Checked(timed.case, timed.step_seconds, predict(costs, timed.case, cores), timed.other_cpus)
        for timed in found.timed
        if timed.case.purpose == "check"
    ]


def predict(costs: Costs, case: Case, cores: int) -> float:
    """Seconds a step of a case."""
    return step(costs, job(case), cluster(case, cores)).seconds


def job(case: Case) -> Job:
    """As the model sees it."""
    return Job(case.parameters, case.batch_size, case.microbatch_size, case.threads)


def cluster(case: Case, cores: int) -> Cluster:
    """The tests' hosts, which share `cores`."""
    limited = case.megabits is not None
    return Cluster(
        nodes=max(1, case.hosts),
        bits_per_second=case.megabits * 1e6 if case.megabits is not None else inf,
        shared_cores=cores,
        burst_bytes=BURST_BYTES if limited else 0,
        workers=case.workers,
    )


def elsewhere(found: Measurements) -> Costs:
    """The costs on nodes that are machines of their own.

    What a worker, an object and a byte cost through Ray is then what the head's processes take of
    a CPU, one after the other; the others' part runs beside it. Threads gain without loss.
    """
    costs = fit(found)
    timed = [each for each in found.timed if each.case.purpose == "fit"]
    idle = _background([each for each in timed if not each.case.hosts])
    together = [each for each in timed if each.case.hosts and each.case.megabits is None]
    rows, seconds = [], []
    for each in together:
        case = each.case
        parts = step(
            replace(costs, ray_byte=1), job(case), Cluster(case.hosts, workers=case.workers)
        )
        own = case.workers * parts.own + parts.join + parts.rest
        rows.append(_ray_row(case, parts))
        seconds.append(each.cpu_seconds[0] - idle * each.step_seconds - own)
    by_head = _solve(RAY, rows, seconds)
    names = ("call_worker", "objects_worker", "ray_byte")
    return replace(costs, contention=0.0, **{name: by_head[name] for name in names})


def _background(alone: Sequence[Timed]) -> float:
    """CPUs that the head takes beside a job that computes on one thread: Ray and the service."""
    long = [each for each in alone if each.case.threads == 1 and each.step_seconds > LONG_SECONDS]
    return float(np.mean([each.cpu_seconds[0] / each.step_seconds - 1 for each in long]))


def _shares(timed: Timed) -> int:
    return job(timed.case).microbatches


def _compute(alone: Sequence[Timed]) -> dict[str, float]:
    rows = [
        [m, m * timed.case.parameters, timed.case.batch_size * timed.case.parameters]
        for timed in alone
        for m in [_shares(timed)]
    ]
    names = ("microbatch", "microbatch_parameter", "example_parameter")
    return _solve(names, rows, [timed.phases["compute"] for timed in alone])


def _rest(alone: Sequence[Timed]) -> dict[str, float]:
    rows = [[1, timed.case.parameters, timed.case.batch_size] for timed in alone]
    seconds = [timed.step_seconds - timed.phases["compute"] for timed in alone]
    return _solve(("rest", "rest_parameter", "rest_example"), rows, seconds)


def _ray(together: Sequence[Timed], costs: Costs, cores: int) -> dict[str, float]:
    """What is left of steps on links without limit, beyond the model's other costs."""
    rows, seconds = [], []
    for timed in together:
        case = timed.case
        parts = step(replace(costs, ray_byte=1), job(case), cluster(case, cores))
        row = _ray_row(case, parts)
        so_far = sum(getattr(costs, name) * often for name, often in zip(RAY, row, strict=True))
        rows.append(row)
        seconds.append(timed.step_seconds - predict(costs, case, cores) + so_far)
    return _solve(RAY, rows, seconds)


def _overlap(together: Sequence[Timed], costs: Costs, cores: int) -> float:
    """Between 0 and 1: what steps are shorter by, of what they could be."""
    shares = []
    for each in together:
        none, all_of_it = (
            predict(replace(costs, overlap=overlap), each.case, cores) for overlap in (0.0, 1.0)
        )
        shares.append((none - each.step_seconds) / (none - all_of_it))
    return float(np.clip(np.mean(shares), 0, 1))


def _ray_row(case: Case, parts: Step) -> list[float]:
    """How often each cost of `RAY` occurs; `parts` were made with a second for each byte."""
    there = (case.hosts - 1) * case.workers
    large = 4 * case.parameters > BY_VALUE_BYTES
    return [1, there, large, large * there, parts.out + parts.back]


def _link_share(found: Measurements) -> float:
    """The arrays' own part of a link's bits, by what plain TCP gets: from two sizes each."""
    shares = []
    for megabits in dict.fromkeys(sent.megabits for sent in found.sent):
        if megabits is not None:
            few, many = sorted((s.bytes, s.seconds) for s in found.sent if s.megabits == megabits)
            bits = 8 * (many[0] - few[0]) / (many[1] - few[1])
            shares.append(bits / (megabits * 1e6))
    return float(np.mean(shares))


def _solve(
    names: Sequence[str], rows: Sequence[Sequence[float]], seconds: Sequence[float]
) -> dict[str, float]:
    """Costs ≥ 0 that make Σ (row · costs / seconds − 1)² least."""
    relative = np.array(rows, float) / np.array(seconds)[:, None]
    scale = np.abs(relative).max(axis=0)
    scale[scale == 0] = 1
    found, _ = nnls(relative / scale, np.ones(len(rows)))
    return dict(zip(names, (found / scale).tolist(), strict=True))
