"""Train the demo job on the handwritten digits, and report the shortcuts' errors."""

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchgrad.client import Client
from batchgrad.contract import Job, StepRow
from batchgrad.display import shortcut_table
from batchgrad.display.live.job import JobDisplay
from batchgrad.display.numbers import best, number, percent, validation
from batchgrad.errors import JobCancelled, Unavailable
from batchgrad.http.following import succeeded
from batchgrad.user_machine import built_in
from batchgrad.user_machine.private_service import private_service


@dataclass(frozen=True)
class Result:
    """The job as it ended, and its last step."""

    job: Job
    last_step: StepRow


def digits() -> tuple[Any, Any]:
    """scikit-learn's digits: inputs (1797, 64) float32 in 0…16, classes (1797,) in 0…9."""
    return built_in.load("digits")


def spec(workers: int, threads: int | None, epochs: int) -> dict[str, Any]:
    """The spec of the demo; the caller chooses workers, threads and length."""
    job: dict[str, Any] = {
        "name": "digits",
        "dataset": "digits",
        "model": {
            "layers": [
                {"kind": "linear", "out_features": 64},
                {"kind": "relu"},
                {"kind": "linear", "out_features": 10},
            ]
        },
        "loss": "softmax_cross_entropy",
        "optimizer": {"kind": "sgd", "learning_rate": 0.1, "momentum": 0.9},
        "batch_size": 256,
        "microbatch_size": 64,
        "epochs": epochs,
        "seed": 0,
        "validation_fraction": 0.2,
        "standardize": True,
        "workers": workers,
    }
    if threads is not None:
        job["threads"] = threads
    return job


def train(
    job_spec: dict[str, Any],
    note: Callable[[str], None],
    *,
    timeout: float | None = None,
    data: Callable[[], tuple[Any, Any]] = digits,
    service: Callable[[], AbstractContextManager[Client]] = private_service,
) -> Result:
    """Train in a private service that is gone afterwards; Ctrl-C cancels (JobCancelled).

    Raises JobFailed, JobCancelled, NotFinished `timeout` seconds after the job was submitted, or
    Unavailable when something is not installed.
    """
    inputs, targets = data()
    note("Starting a private service …")
    with service() as client:
        client.put_arrays("digits", inputs, targets)
        job = client.submit(job_spec)
        try:
            with JobDisplay(lines_every_epochs=5) as display:
                for current in client.watch(job.id, timeout=timeout):
                    display.update(current)
                    job = current
        except KeyboardInterrupt as interrupt:
            note("Cancelling …")
            client.cancel(job.id)
            raise JobCancelled("Interrupted; the job is cancelled.", job) from interrupt
        succeeded(job)
        last_step = client.last_step(job.id)
        if last_step is None:
            raise Unavailable(f"Job {job.id} succeeded without a step.")
        return Result(job, last_step)


def summary(result: Result) -> dict[str, Any]:
    """What `--output json` prints: the last step's figures."""
    job = result.job
    return {
        "id": job.id,
        "status": job.status,
        "steps": job.step,
        "loss": job.loss,
        "validation_accuracy": validation(job)[1],
        "workers": job.workers,
        "executor": job.executor,
        "examples_per_second": job.examples_per_second,
        "parameters_digest": job.parameters_digest,
        "shortcuts": {
            name: shortcut.model_dump(include={"relative_error", "cosine_similarity", "norm_ratio"})
            for name, shortcut in result.last_step.shortcuts.items()
        },
    }


def command(python: Path, path: str, here: Path) -> str:
    """The command batchgrad as typed in the folder `here`: its name if in PATH, else its path."""
    beside = python.with_name("batchgrad")
    if shutil.which("batchgrad", path=path) or not beside.exists():
        return "batchgrad"
    return str(beside.relative_to(here) if beside.is_relative_to(here) else beside)


def report(result: Result, command: str = "batchgrad") -> str:
    """The report at the end; `command` is the command batchgrad as typed here."""
    job = result.job
    where = (
        f"{job.workers} Ray worker{'' if job.workers == 1 else 's'}"
        if job.executor == "ray"
        else "the engine itself"
    )
    lines = [
        "",
        f"Trained {job.step} steps by the exact mean gradient, on {where}.",
        f"Validation accuracy {percent(validation(job)[1])}, last loss {number(job.loss)}.",
        *([f"The job keeps {best(job.best)}."] if job.best else []),
        "",
        "How far the shortcuts were from the gradient at the last step:",
        *_gap_table(result.last_step),
        "",
        shortcut_table.HOW_TO_READ,
        "",
        "The inputs are standardized, so their mean is near zero: a shortcut that multiplies one",
        "averaged error by one averaged input gets almost nothing for the first layer's weights,",
        "so nearly all of that layer's gradient is missing from it.",
        "mean_example takes the gradient at one average image, which the network never learned:",
        "once it has learned the real ones, the error of that image outweighs their gradient.",
        "",
        f"parameters {job.parameters_digest}",
        f"The same for any number of workers: try `{command} demo --workers 3`.",
        "",
        "Next:",
        f"  {command} serve                             run the service",
        f"  {command} datasets push NAME FILE.npz       store your data",
        f"  {command} submit SPEC.yaml --watch          train on it",
        f"  {command} gradients REQUEST.yaml            compute one minibatch's gradient",
    ]
    return "\n".join(lines)


def _gap_table(step: StepRow) -> list[str]:
    rows = [list(shortcut_table.HEADING), *shortcut_table.rows(step.shortcuts)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(shortcut_table.HEADING))]
    return [
        "  " + "  ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
