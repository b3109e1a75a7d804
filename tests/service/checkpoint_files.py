"""Checkpoint files for tests, written without training."""

from pathlib import Path

import numpy as np

from batchgrad.contract import BestEvaluation
from batchgrad_engine.checkpoints.checkpoints import Snapshot, write
from batchgrad_engine.messages import Checkpointed
from batchgrad_engine.training.best import Best
from batchgrad_workers.data.standardization import Standardization
from tests.service.building import NOW
from tests.service.conftest import Bench

WEIGHTS = {
    "0.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "0.bias": np.zeros(2, np.float32),
}


def checkpoint(
    bench: Bench,
    job_id: str,
    step: int,
    standardization: Standardization | None = None,
    best_step: int | None = None,
) -> None:
    """A checkpoint file and its row, of a job with three inputs and two classes.

    Parameters are WEIGHTS + the step that they are of.
    """
    directory: Path = bench.data_dir / "jobs" / job_id
    directory.mkdir(parents=True, exist_ok=True)
    parameters = {name: value + step for name, value in WEIGHTS.items()}
    digest = "sha256:" + "d" * 64
    best = None if best_step is None else best_of(best_step)
    snapshot = Snapshot(step, parameters, {}, standardization, digest, {}, best=best)
    written = write(directory, snapshot)
    attempt = bench.store.begin_attempt(job_id) or bench.store.job_inputs(job_id).attempt
    assert bench.store.record_checkpoint(
        job_id,
        attempt,
        Checkpointed(
            step=step,
            time=NOW,
            file=written.path.name,
            bytes=written.bytes,
            digest=written.digest,
            parameters_digest=digest,
            best=best and best.evaluation,
        ),
    )


def best_of(step: int) -> Best:
    """The best evaluation in a checkpoint, after `step`."""
    evaluation = BestEvaluation(
        step=step,
        epoch=1,
        metric="validation_loss",
        validation_loss=0.25,
        validation_accuracy=0.875,
        parameters_digest="sha256:" + "e" * 64,
    )
    return Best(evaluation, {name: value + step for name, value in WEIGHTS.items()})
