"""The results of a sweep's jobs, the best first."""

from collections.abc import Sequence
from typing import Any

from batchgrad.contract import VALIDATION_FIGURES, Job
from batchgrad.display.tables import columns

FIGURES = (*VALIDATION_FIGURES, "loss")


def result(job: Job, keys: Sequence[str]) -> dict[str, Any]:
    """What a sweep shows of a job; its validation figures are of the parameters that it keeps."""
    row = columns.values(job)
    kept = job.best or job
    shown = ("id", "name", *keys, "status", "reason", "step", "steps_planned", "loss")
    figures: dict[str, Any] = {name: getattr(kept, name) for name in VALIDATION_FIGURES}
    return {**{name: row.get(name) for name in shown}, **figures}


def best_first(jobs: Sequence[Job], keys: Sequence[str]) -> tuple[str, list[dict[str, Any]]]:
    """The figure that decides, and the results sorted by it; jobs that failed are last.

    It is the figure by which the jobs keep their best parameters, else the validation loss, else
    the validation accuracy, which private jobs may have alone, else the last step's loss.
    """
    rows = [result(job, keys) for job in jobs]
    chosen = {job.spec.best_by for job in jobs} - {None}
    metric = (chosen.pop() if len(chosen) == 1 else None) or "validation_loss"
    if all(row[metric] is None for row in rows):
        metric = "validation_accuracy"
    figure, descending = str(metric), VALIDATION_FIGURES[metric].higher_is_better
    if all(row[figure] is None for row in rows):
        figure, descending = "loss", False
    order = columns.ordered(rows, figure, descending=descending)
    order.sort(key=lambda index: jobs[index].status != "succeeded")
    return figure, [rows[index] for index in order]
