"""Jobs of many steps, written into the store of a running service."""

from datetime import UTC, datetime, timedelta

import numpy as np
from sqlalchemy import update

from batchgrad.user_machine.demo import spec
from batchgrad_engine.step_columns import Columns
from batchgrad_service.store.records import append_event
from batchgrad_service.store.schema import jobs
from batchgrad_service.store.step_blocks import blocks, curves
from tests.browser.conftest import Running

BEGAN = datetime(2026, 1, 2, tzinfo=UTC)
SPIKE = 123_457
"""The loss of this step is 1000."""


def short_job(running: Running, steps: int = 5) -> str:
    """The id of a job that has ended after these steps."""
    changes = {"epochs": None, "steps": steps, "name": f"steps-{steps}"}
    return running.client.wait(running.client.submit({**spec(0, None, 1), **changes}).id).id


def lengthen(running: Running, job_id: str, first: int, last: int) -> None:
    """Let the job have done the steps `first` to `last` too, and have ended again."""
    with running.writing() as connection:
        blocks.put_columns(connection, job_id, [_columns(first, last)], exact=False)
        connection.execute(
            update(jobs).where(jobs.c.id == job_id).values(step=last, steps_planned=last)
        )
        append_event(
            connection,
            job_id,
            "end",
            {"state": "succeeded", "status": "succeeded", "reason": None, "detail": None},
            datetime.now(UTC),
        )


def compute_again(running: Running, job_id: str, first: int, last: int) -> None:
    """Let a new attempt have done the steps `first` to `last`, of which the job had some."""
    with running.writing() as connection:
        curves.cut(connection, job_id, first)
        connection.execute(
            update(jobs).where(jobs.c.id == job_id).values(attempts=jobs.c.attempts + 1)
        )
        state = {"status": "running", "reason": None}
        append_event(connection, job_id, "state", state, datetime.now(UTC))
    lengthen(running, job_id, first, last)


def _columns(first: int, last: int) -> Columns:
    steps = np.arange(first, last + 1)
    random = np.random.default_rng(first)

    def drawn(mean: float) -> tuple[float, ...]:
        return tuple((mean * random.lognormal(0, 0.5, len(steps))).tolist())

    losses = np.exp(-np.minimum(steps / 50_000, 6)) * random.lognormal(0, 0.5, len(steps))
    losses[steps == SPIKE] = 1000.0
    none = None
    return {
        "step": tuple(steps.tolist()),
        "epoch": tuple((steps // 6).tolist()),
        "time": tuple(BEGAN + timedelta(milliseconds=step) for step in steps.tolist()),
        "loss": tuple(losses.tolist()),
        "learning_rate": (0.1,) * len(steps),
        "gradient_norm": drawn(1.0),
        "noise_scale": tuple(
            none if step % 4 == 0 else value
            for step, value in zip(steps.tolist(), drawn(90.0), strict=True)
        ),
        "shortcuts": {
            name: {"relative_error": drawn(error), "cosine_similarity": drawn(0.5)}
            for name, error in (("averaged_error", 0.9), ("mean_example", 20.0))
        },
        "phases": {"compute": drawn(0.001), "compare": drawn(0.0005)},
        "workers": 0,
    }
