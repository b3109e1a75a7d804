"""Jobs and answers as people read them on a terminal."""

from typing import TYPE_CHECKING, Any

import typer

from batchgrad.cli.common import number, properties, table

if TYPE_CHECKING:
    from batchgrad.contract import Dataset, Event, GradientsResponse, Job, Plan
    from batchgrad.contract.views import LayeredShortcut

MOST_NUMBERS = 16


def show_job(job: "Job") -> None:
    """A job's figures, one a line, without what it has none of."""
    where = job.executor and f"{job.executor}, {job.workers} workers × {job.threads} threads"
    pairs = [
        ("id", job.id),
        ("name", job.name),
        ("status", job.status),
        ("reason", job.reason),
        ("detail", job.detail),
        ("queued because", job.queued_because),
        ("step", f"{job.step} of {job.steps_planned} (epoch {job.epoch})"),
        ("loss", job.loss is not None and number(job.loss, 6)),
        ("validation loss", job.validation_loss is not None and number(job.validation_loss, 6)),
        (
            "validation accuracy",
            job.validation_accuracy is not None and f"{job.validation_accuracy:.2%}",
        ),
        ("gradient norm", job.gradient_norm is not None and number(job.gradient_norm)),
        ("noise scale", job.noise_scale is not None and number(job.noise_scale)),
        *(
            (f"gap of {name}", f"{number(s.relative_error)} (cosine {number(s.cosine_similarity)})")
            for name, s in job.shortcuts.items()
        ),
        ("runs on", where),
        ("examples/s", job.examples_per_second is not None and number(job.examples_per_second)),
        ("parameters", job.parameters_digest),
        ("attempts", str(job.attempts)),
        ("created", job.created_at.isoformat(timespec="seconds")),
        ("finished", job.finished_at and job.finished_at.isoformat(timespec="seconds")),
        *(("warning", warning) for warning in job.warnings),
    ]
    properties([(name, value) for name, value in pairs if value])


def show_jobs(jobs: "list[Job]") -> None:
    """Jobs, a row each."""
    table(
        ["id", "name", "status", "step", "loss", "validation accuracy", "created"],
        [
            [
                job.id,
                job.name,
                job.status,
                f"{job.step}/{job.steps_planned}",
                number(job.loss),
                "–" if job.validation_accuracy is None else f"{job.validation_accuracy:.2%}",
                job.created_at.isoformat(timespec="seconds"),
            ]
            for job in jobs
        ],
    )


def show_plan(plan: "Plan") -> None:
    """What a job would do."""
    properties(
        [
            (
                "examples",
                f"{plan.training_examples} to train, {plan.validation_examples} to validate",
            ),
            ("parameters", str(plan.parameters)),
            (
                "layers",
                ", ".join(f"{x.name} {x.kind} → {tuple(x.output_shape)}" for x in plan.layers),
            ),
            ("steps", f"{plan.steps_planned} ({plan.steps_per_epoch} an epoch)"),
            ("microbatches", f"{plan.microbatches_per_step} of {plan.microbatch_size} a step"),
            ("shortcuts", ", ".join(plan.shortcuts) or "none"),
            *(("warning", warning) for warning in plan.warnings),
        ]
    )


def show_event(event: "Event") -> None:
    """An event on a line."""
    time = event.time.isoformat(timespec="milliseconds")
    said = "  ".join(f"{key}={value}" for key, value in event.data.items())
    typer.echo(f"{event.seq:>6}  {time}  {event.type:<13} {said}".rstrip())


def show_datasets(datasets: "list[Dataset]") -> None:
    """Datasets, a row each."""
    table(
        ["name", "examples", "input", "targets", "bytes", "digest"],
        [
            [
                x.name,
                str(x.examples),
                f"{x.input_dtype} {tuple(x.input_shape)}",
                f"{x.classes} classes" if x.classes is not None else x.target_kind,
                str(x.bytes),
                x.digest,
            ]
            for x in datasets
        ],
    )


def show_gradients(answer: "GradientsResponse") -> None:
    """How far each shortcut is off, in all and layer by layer; small gradients number by number."""
    properties(
        [
            ("loss", number(answer.loss, 6)),
            ("examples", str(answer.examples)),
            ("noise scale", number(answer.noise_scale.simple)),
        ]
    )
    if _small(answer):
        table(["parameter", "mean gradient", *answer.shortcuts], _gradient_rows(answer))
    table(
        [
            "shortcut",
            "layer",
            "relative error",
            "cosine",
            "norm ratio",
            "covariance",
            "propagated",
        ],
        [row for name, shortcut in answer.shortcuts.items() for row in _shortcut(name, shortcut)],
    )


def _small(answer: "GradientsResponse") -> bool:
    """Whether the gradients themselves can be read at a glance."""
    return sum(len(_numbers(values)) for values in answer.mean_gradient.values()) <= MOST_NUMBERS


def _gradient_rows(answer: "GradientsResponse") -> list[list[str]]:
    """A row for each number of the gradient: its place, the exact one, the shortcuts'."""
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


def _shortcut(name: str, shortcut: "LayeredShortcut") -> list[list[str]]:
    whole = [shortcut.relative_error, shortcut.cosine_similarity, shortcut.norm_ratio]
    rows = [[name, "all", *map(number, whole), "", ""]]
    for layer in shortcut.layers or ():
        split = [layer.covariance_norm, layer.propagation_norm]
        rows.append(["", layer.name, number(layer.relative_error), "", "", *map(number, split)])
    return rows
