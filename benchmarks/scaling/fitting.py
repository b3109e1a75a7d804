"""Fit the model's costs to the measurements: non-negative least squares of relative errors."""

from collections.abc import Sequence
from dataclasses import fields, replace
from math import inf
from typing import NamedTuple

import numpy as np
from scipy.optimize import nnls

from benchmarks.scaling.measured import Case, Measurements, Timed
from benchmarks.scaling.model import BY_VALUE_BYTES, Cluster, Costs, Job, Step, share, step

BURST_BYTES = 128 * 2**10
"""Bytes that pass a link of the tests' hosts before `tc tbf` limits it."""

LONG_SECONDS = 0.01
ROUNDS = 10
"""Ray's costs decide which workers compute at the same time, which changes the fitted costs:
so the fit is repeated."""

RAY = ("call", "call_worker", "objects", "objects_worker", "ray_byte")

NOTHING = Costs(**{field.name: 0.0 for field in fields(Costs)})


class Checked(NamedTuple):
    """A case that the model was not fitted to; times are seconds a step."""

    case: Case
    measured: float
    predicted: float
    other_cpus: float

    @property
    def ratio(self) -> float:
        """Predicted over measured time."""
        return self.predicted / self.measured


def fit(found: Measurements) -> Costs:
    """Fit the costs to the cases with purpose "fit"."""
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
    """Predict every case with purpose "check"."""
    cores = int(found.machine["cores"])
    return [
        Checked(timed.case, timed.step_seconds, predict(costs, timed.case, cores), timed.other_cpus)
        for timed in found.timed
        if timed.case.purpose == "check"
    ]


def predict(costs: Costs, case: Case, cores: int) -> float:
    """Predicted seconds a step of a case."""
    return step(costs, job(case), cluster(case, cores), siblings=case.siblings).seconds


def job(case: Case) -> Job:
    """The model's job for a case."""
    return Job(case.parameters, case.batch_size, case.microbatch_size, case.threads)


def cluster(case: Case, cores: int) -> Cluster:
    """The model's cluster for a case on the tests' hosts, which share `cores`."""
    limited = case.megabits is not None
    return Cluster(
        nodes=max(1, case.hosts),
        bits_per_second=case.megabits * 1e6 if case.megabits is not None else inf,
        shared_cores=cores,
        burst_bytes=BURST_BYTES if limited else 0,
        workers=case.workers,
    )


def elsewhere(found: Measurements) -> Costs:
    """The costs on nodes that are separate machines.

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
    """CPUs that Ray and the service use on the head beside a job on one thread."""
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
    """Fit Ray's costs to the rest of steps on unlimited links, beyond the model's other costs."""
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
    """The fraction (0 to 1) of the possible overlap by which measured steps are shorter."""
    shares = []
    for each in together:
        none, all_of_it = (
            predict(replace(costs, overlap=overlap), each.case, cores) for overlap in (0.0, 1.0)
        )
        shares.append((none - each.step_seconds) / (none - all_of_it))
    return float(np.clip(np.mean(shares), 0, 1))


def _ray_row(case: Case, parts: Step) -> list[float]:
    """How often each cost of `RAY` occurs; `parts` were computed with 1 s for each byte."""
    there = (case.hosts - 1) * case.workers
    large = 4 * case.parameters > BY_VALUE_BYTES
    return [1, there, large, large * there, parts.out + parts.back]


def _link_share(found: Measurements) -> float:
    """The fraction of a link's bits that carry arrays, from plain TCP with two sizes each."""
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
    """Costs ≥ 0 that minimise Σ (row · costs / seconds − 1)²."""
    relative = np.array(rows, float) / np.array(seconds)[:, None]
    scale = np.abs(relative).max(axis=0)
    scale[scale == 0] = 1
    found, _ = nnls(relative / scale, np.ones(len(rows)))
    return dict(zip(names, (found / scale).tolist(), strict=True))
