"""Format numbers as text, for tables, the live display and events."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchgrad.contract import BestEvaluation, Job

NONE = "–"


def number(value: float | None, digits: int = 4) -> str:
    """A figure with `digits` digits; "–" if it is unknown or undefined."""
    return NONE if value is None else f"{value:.{digits}g}"


def percent(value: float | None) -> str:
    """A fraction such as an accuracy, in percent."""
    return NONE if value is None else f"{value:.2%}"


def counted(count: int, word: str) -> str:
    """A count with its noun: 1 thread, 2 threads, 2 microbatches."""
    plural = "es" if word.endswith("ch") else "s"
    return f"{count} {word}{'' if count == 1 else plural}"


def size(bytes_: int) -> str:
    """A number of bytes: 512 B, 12.3 KiB, 4.56 MiB."""
    value = float(bytes_)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.3g} {unit}"
        value /= 1024
    return f"{value:.3g} TiB"


def duration(seconds: float) -> str:
    """A time in its two largest units: 0.12 s, 45.6 s, 3 min 05 s, 2 h 03 min, 4 d 05 h."""
    if seconds < 59.95:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    for unit, parts, large, small in ((60, 60, "min", "s"), (3600, 24, "h", "min")):
        if whole < unit * parts:
            return f"{whole // unit} {large} {whole % unit // (unit // 60):02} {small}"
    return f"{whole // 86400} d {whole % 86400 // 3600:02} h"


def short(digest: str) -> str:
    """The first digits of a digest: sha256:0123456789ab."""
    kind, colon, digits = digest.partition(":")
    return f"{kind}{colon}{digits[:12]}"


def place(job: "Job") -> str | None:
    """Workers and threads of a job; None until they are known."""
    if job.executor is None or job.workers is None or job.threads is None:
        return None
    threads = counted(job.threads, "thread")
    if job.executor == "inline":
        return f"inline, {threads}"
    return f"{counted(job.workers, 'Ray worker')}, {threads}{' each' * (job.workers > 1)}"


def best(evaluation: "BestEvaluation") -> str:
    """Which parameters a job keeps, and their figure."""
    metric = evaluation.metric
    (label, figure), *_ = validation_figures({metric: vars(evaluation)[metric]})
    return (
        f"the best parameters, after step {evaluation.step} (epoch {evaluation.epoch}), by "
        f"{label}: {figure}"
    )


def validation_figures(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The figures of an evaluation that are known, by label, from their values by name."""
    from batchgrad.contract import VALIDATION_FIGURES  # noqa: PLC0415 (help needs no contract)

    return [
        (figure.label, percent(value) if figure.percent else number(value))
        for name, figure in VALIDATION_FIGURES.items()
        if (value := values.get(name)) is not None
    ]


def validation(job: "Job") -> tuple[float | None, float | None]:
    """Validation loss and accuracy of the parameters that a job keeps."""
    of = job.best or job
    return of.validation_loss, of.validation_accuracy


def step_figures(job: "Job") -> list[tuple[str, str]]:
    """The figures of a job's newest step by name; none before the first step.

    A private job has only some of them.
    """
    from batchgrad.contract import FIGURES  # noqa: PLC0415 (help needs no contract)

    if not job.step:
        return []
    values = [(figure, getattr(job, name)) for name, figure in FIGURES.items()]
    return [
        (figure.label, _measured(value, figure.unit))
        for figure, value in values
        if value is not None or job.privacy is None
    ]


def _measured(value: float | None, unit: str) -> str:
    return "undetermined" if value is None else f"{number(value)} {unit}".rstrip()


def learned(job: "Job") -> list[tuple[str, str]]:
    """All figures of a job's training that are known, by name."""
    loss = [] if job.loss is None else [("loss", number(job.loss))]
    return [*loss, *other_figures(job)]


def other_figures(job: "Job") -> list[tuple[str, str]]:
    """Validation, gaps and speed of a job that are known, by name."""
    pairs: list[tuple[str, str]] = []
    pairs += validation_figures(vars(job))
    pairs += [
        (f"gap of {name}", number(shortcut.relative_error))
        for name, shortcut in job.shortcuts.items()
        if shortcut.relative_error is not None
    ]
    if job.examples_per_second is not None:
        pairs.append(("examples/s", f"{job.examples_per_second:,.0f}"))
    return pairs
