"""Differential privacy of jobs, plans and datasets in words: ε spent, noise, clipping."""

from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from typing import TYPE_CHECKING, NamedTuple

from batchgrad.display.numbers import NONE, counted, number

if TYPE_CHECKING:
    from batchgrad.contract import DatasetPrivacy, Job, PlannedPrivacy, Privacy

UNSAFE = (
    "UNSAFE: this service has a fixed key, for tests: anyone can compute the noise and take it "
    "off, so nothing is protected."
)
_UNITS = {
    "example": "one example",
    "units": "all rows of one unit, by the dataset's array units",
}
_ADJACENCIES = {
    "zero_out": "zero_out: against the same dataset with nothing in its place",
    "replace": "replace: against the same dataset with any other in its place",
}
_CLIPPINGS = {
    "flat": "longer gradients are cut to C",
    "automatic": "every gradient is scaled by C / (norm + 0.01)",
    "per_layer": "each of L layers is cut to C/√L",
    "quantile": "C follows the median of the norms; this is its first value",
}
_ACCOUNTANTS = {"pld": "privacy loss distributions", "rdp": "Rényi divergences"}


class Figure(NamedTuple):
    """A figure of a job's privacy: its name, its value, and what it means."""

    label: str
    value: str
    meaning: str


def upper(value: float | None) -> str:
    """ε or δ with four digits, rounded up, since what is said of privacy must be an upper bound."""
    return _rounded(value, ROUND_CEILING)


def lower(value: float | None) -> str:
    """What is left of ε, or the noise, with four digits, rounded down: at least this is there."""
    return _rounded(value, ROUND_FLOOR)


def _rounded(value: float | None, rounding: str) -> str:
    if value is None:
        return NONE
    exact = f"{value:.13g}"  # 0.1 + 0.2 is 0.3
    return number(float(Context(prec=4, rounding=rounding).create_decimal(exact)))


def budget(job: "Job") -> float | None:
    """The spec's ε, else what all planned steps spend; None under a fixed key, or not private."""
    if job.privacy is None or job.privacy.unsafe:
        return None
    given = job.spec.privacy.epsilon if job.spec.privacy else None
    return job.privacy.epsilon if given is None else given


def spent(job: "Job") -> str | None:
    """ε spent of the budget, at δ; None of a job that is not private."""
    if job.privacy is None:
        return None
    if job.privacy.unsafe:
        return UNSAFE
    return (
        f"ε {upper(job.privacy.epsilon_spent)} of {upper(budget(job))} "
        f"at δ {upper(job.privacy.delta)}"
    )


def of_job(job: "Job") -> list[tuple[str, str]]:
    """What a private job has spent, and how it is protected, by name; else []."""
    if job.privacy is None or job.spec.privacy is None:
        return []
    return [("privacy", spent(job) or ""), *_of(job.privacy, job.spec.privacy)]


def of_plan(planned: "PlannedPrivacy", spec: "Privacy") -> list[tuple[str, str]]:
    """What a private job would spend, and how it would be protected, by name."""
    if planned.unsafe:
        return [("privacy", UNSAFE), *_of(planned, spec)]
    of = "" if spec.epsilon is None else f", the budget is {number(spec.epsilon)}"
    total = f"ε {upper(planned.epsilon)} at δ {upper(planned.delta)}"
    return [
        ("privacy", f"{total} after {counted(planned.steps, 'step')}{of}"),
        *_of(planned, spec),
    ]


def _of(planned: "PlannedPrivacy", spec: "Privacy") -> list[tuple[str, str]]:
    return [
        (figure.label, f"{figure.value}: {figure.meaning}") for figure in figures(planned, spec)
    ]


def figures(planned: "PlannedPrivacy", spec: "Privacy") -> list[Figure]:
    """The parameters of the protection, and what each means."""
    return [
        Figure(
            "noise",
            f"σ {lower(planned.noise_multiplier)}",
            "the noise on the sum of gradients has this deviation, in units of C",
        ),
        Figure(
            "sampling rate",
            f"q {number(planned.sampling_rate)}",
            "each row, or unit, is in a minibatch with this probability",
        ),
        Figure(
            "clipping", f"{spec.clipping}, C {number(spec.clip_norm)}", _CLIPPINGS[spec.clipping]
        ),
        Figure(
            "protects",
            _UNITS[spec.unit],
            _ADJACENCIES[spec.adjacency],
        ),
        Figure("accountant", planned.accountant, _ACCOUNTANTS[planned.accountant]),
    ]


def of_dataset(privacy: "DatasetPrivacy") -> str:
    """What private jobs have spent on a dataset's rows, of the budget if there is one."""
    of = "" if privacy.budget is None else f" of {lower(privacy.budget)}"
    return (
        f"ε {upper(privacy.epsilon)}{of} at δ {upper(privacy.delta)}, "
        f"in {counted(privacy.jobs, 'job')}"
    )
