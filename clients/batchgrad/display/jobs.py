"""Print jobs, plans, datasets and gradients as tables."""

from typing import TYPE_CHECKING, Any

import typer

from batchgrad.display import privacy, shortcut_table
from batchgrad.display.numbers import (
    NONE,
    best,
    counted,
    number,
    other_figures,
    place,
    short,
    size,
    step_figures,
)
from batchgrad.display.tables import columns
from batchgrad.display.terminal import properties, say, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from batchgrad.contract import Dataset, GradientsResponse, Job, JobSpec, Plan, TorchPlan

MOST_NUMBERS = 16
MOST_NAMES = 10


def show_job(job: "Job") -> None:
    """Print the known figures of a job, one on each line."""
    pairs = [
        ("id", job.id),
        ("name", job.name),
        ("status", job.status),
        ("reason", job.reason),
        ("detail", job.detail),
        ("queued because", job.queued_because),
        ("step", f"{job.step} of {job.steps_planned} (epoch {job.epoch})"),
        *step_figures(job),
        *privacy.of_job(job),
        *other_figures(job),
        *(
            (f"cosine of {name}", number(shortcut.cosine_similarity))
            for name, shortcut in job.shortcuts.items()
        ),
        ("runs on", place(job)),
        ("parameters", _parameters(job)),
        ("kept", job.best and best(job.best)),
        ("last parameters", job.best and job.last_parameters_digest),
        ("attempts", str(job.attempts)),
        ("created", job.created_at.isoformat(timespec="seconds")),
        ("finished", job.finished_at and job.finished_at.isoformat(timespec="seconds")),
        *(("warning", warning) for warning in job.warnings),
    ]
    properties([(name, value) for name, value in pairs if value])


def _parameters(job: "Job") -> str | None:
    """The digest of the parameters that a download gives, and their step."""
    at = "" if job.parameters_step is None else f" at step {job.parameters_step}"
    return job.parameters_digest and f"{job.parameters_digest}{at}"


def noise(scale: float | None) -> str:
    """The noise scale; without one the minibatch was too small, or weights differed."""
    return "undetermined" if scale is None else number(scale)


def show_jobs(rows: "Sequence[Mapping[str, Any]]", names: "Sequence[str]") -> None:
    """Print jobs, one in each row; `rows` hold their values by the names of columns."""
    if not rows:
        say("No jobs. Next: batchgrad submit SPEC.yaml --watch")
        return
    table(
        [columns.heading(name) for name in names],
        [[columns.cell(name, row) for name in names] for row in rows],
    )


def show_plan(plan: "Plan", spec: "JobSpec", overrides: "Sequence[str]" = ()) -> None:
    """Print what a job would do, and what --set changed."""
    properties(
        [
            (
                "examples",
                f"{plan.training_examples} to train, {plan.validation_examples} to validate",
            ),
            ("parameters", str(plan.parameters)),
            ("optimizer", _optimizer(spec)),
            (
                "layers",
                ", ".join(f"{x.name} {x.kind} → {tuple(x.output_shape)}" for x in plan.layers),
            ),
            *(("classes", text) for text in _classes(plan)),
            ("steps", f"{plan.steps_planned} ({plan.steps_per_epoch} an epoch)"),
            ("microbatches", f"{plan.microbatches_per_step} of {plan.microbatch_size} a step"),
            ("memory", f"{size(plan.memory_bytes)} in each process, with one thread"),
            ("keeps", _keeps(spec)),
            ("workers", _workers(spec)),
            ("shortcuts", ", ".join(plan.shortcuts) or "none"),
            *(_of_torch(plan.torch) if plan.torch else ()),
            *(privacy.of_plan(plan.privacy, spec.privacy) if plan.privacy and spec.privacy else ()),
            *(("set", override) for override in overrides),
            *(("warning", warning) for warning in plan.warnings),
        ]
    )


def _of_torch(plan: "TorchPlan") -> "Iterator[tuple[str, str]]":
    """How a PyTorch task is computed, and what is not measured."""
    yield "task", plan.function
    yield "computed", f"{plan.path.replace('_', ' ')}. {plan.why}"
    frozen = [each.name for each in plan.parameters if not each.trainable]
    for name, values in (
        ("frozen", frozen),
        ("without formula", plan.uncovered),
        ("random", plan.random),
    ):
        if values:
            yield name, ", ".join(values[:MOST_NAMES]) + ", …" * (len(values) > MOST_NAMES)
    for name, why in plan.unavailable.items():
        yield "not measured", f"{name}: {why}"


def _classes(plan: "Plan") -> "Iterator[str]":
    """The names of the classes, of many the first; nothing if they have none."""
    names = plan.classes or []
    if names:
        yield ", ".join(names[:MOST_NAMES]) + ", …" * (len(names) > MOST_NAMES)


def _keeps(spec: "JobSpec") -> str:
    """Which parameters will be the job's."""
    if spec.best_by is None:
        return "the last parameters"
    return f"the parameters of the best evaluation, by {spec.best_by.replace('_', ' ')}"


def _optimizer(spec: "JobSpec") -> str:
    """The optimizer's kind, and the settings that were given."""
    rule = spec.optimizer
    given = rule.model_dump(mode="json", exclude_unset=True, exclude={"kind", "schedule"})
    settings = [f"{key} {value}" for key, value in given.items()]
    return ", ".join([rule.kind, *settings, f"{rule.schedule.kind} schedule"])


def _workers(spec: "JobSpec") -> str:
    threads = spec.threads if spec.threads == "auto" else counted(spec.threads, "thread")
    threads = "threads chosen by measuring" if threads == "auto" else f"{threads} each"
    match spec.workers:
        case "auto":
            return f"chosen by the service, {threads}"
        case 0:
            return f"none, inline in the engine, {threads.removesuffix(' each')}"
        case int(count):
            return f"{counted(count, 'Ray worker')}, {threads}"
        case bounds:
            return f"{bounds.min} to {bounds.max} Ray workers, {threads}"


def _inputs_and_targets(dataset: "Dataset") -> tuple[str, str]:
    """What a network of layers sees; else how many arrays there are."""
    if dataset.input_shape is None or dataset.target_kind is None:
        return counted(len(dataset.arrays), "array"), NONE
    classes = dataset.classes
    return (
        f"{dataset.input_dtype} {tuple(dataset.input_shape)}",
        dataset.target_kind if classes is None else f"{classes} classes",
    )


def show_datasets(datasets: "list[Dataset]") -> None:
    """Print datasets, one in each row."""
    if not datasets:
        say("No datasets. Next: batchgrad datasets push NAME FILE")
        return
    spent = ["spent by private jobs"] if any(x.privacy for x in datasets) else []
    table(
        ["name", "examples", "input", "targets", "size", "digest", *spent],
        [
            [
                x.name,
                str(x.examples),
                *_inputs_and_targets(x),
                size(x.bytes),
                short(x.digest),
                *(privacy.of_dataset(x.privacy) if x.privacy else NONE for _ in spent),
            ]
            for x in datasets
        ],
    )


def show_gradients(answer: "GradientsResponse") -> None:
    """Print each shortcut's error, as a whole and by layer, and the numbers of small gradients."""
    properties(
        [
            ("loss", number(answer.loss, 6)),
            ("examples", str(answer.examples)),
            ("noise scale", noise(answer.noise_scale.simple)),
        ]
    )
    if _small(answer):
        table(["parameter", "mean gradient", *answer.shortcuts], _gradient_rows(answer))
    table(shortcut_table.HEADING, shortcut_table.rows(answer.shortcuts))
    typer.echo(shortcut_table.HOW_TO_READ)
    if answer.per_example is not None:
        typer.echo("The gradient of each example: --output json, under per_example.")


def _small(answer: "GradientsResponse") -> bool:
    """Whether a gradient has few enough numbers to print."""
    return sum(len(_numbers(values)) for values in answer.mean_gradient.values()) <= MOST_NUMBERS


def _gradient_rows(answer: "GradientsResponse") -> list[list[str]]:
    """A row for each number of the gradient: its name, the mean gradient's, the shortcuts'."""
    columns = [answer.mean_gradient, *(s.gradient for s in answer.shortcuts.values())]
    rows = []
    for name in answer.mean_gradient:
        flat = [_numbers(column[name]) for column in columns]
        for index, values in enumerate(zip(*flat, strict=True)):
            place = name if len(flat[0]) == 1 else f"{name} #{index}"
            rows.append([place, *map(number, values)])
    return rows


def _numbers(nested: Any) -> list[float]:
    return [x for item in nested for x in _numbers(item)] if isinstance(nested, list) else [nested]
