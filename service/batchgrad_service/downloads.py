"""Choose which parameters of a job's checkpoints a download gives."""

from collections.abc import Sequence
from dataclasses import dataclass

from batchgrad.contract import Kept
from batchgrad_service.problems import Conflict, Invalid, NotFound
from batchgrad_service.store.records import StoredCheckpoint


@dataclass(frozen=True)
class Download:
    """`which` parameters of the checkpoint in `file`; those after `step` steps."""

    file: str
    which: Kept
    step: int
    digest: str


def choose(
    job_id: str,
    checkpoints: Sequence[StoredCheckpoint],
    which: Kept | None = None,
    step: int | None = None,
) -> Download:
    """The parameters that the job keeps; or `which`, or those after `step` steps.

    `checkpoints` are the job's, the newest first, at least one.

    Raises:
        Invalid: both `which` and `step` are given.
        Conflict: the best are asked for, and the job keeps none.
        NotFound: no checkpoint holds those of this step.
    """
    newest = checkpoints[0]
    if step is not None:
        if which is not None:
            raise Invalid(f"step={step} and which={which} both say which parameters: give one.")
        return _after(job_id, checkpoints, step)
    if which == "last" or (which is None and newest.checkpoint.best is None):
        return _last(newest)
    if newest.checkpoint.best is None:
        raise Conflict(
            f"Job {job_id} keeps no best parameters: it was not evaluated yet, has no validation "
            "examples, or says keep: last. Ask for which=last.",
            code="no_best_parameters",
        )
    return _best(newest)


def _last(stored: StoredCheckpoint) -> Download:
    held = stored.checkpoint
    return Download(stored.file, "last", held.step, held.parameters_digest)


def _best(stored: StoredCheckpoint) -> Download:
    held = stored.checkpoint.best
    assert held is not None  # noqa: S101 - callers have looked
    return Download(stored.file, "best", held.step, held.parameters_digest)


def _after(job_id: str, checkpoints: Sequence[StoredCheckpoint], step: int) -> Download:
    best = {
        stored.checkpoint.best.step: _best(stored)
        for stored in reversed(checkpoints)
        if stored.checkpoint.best is not None
    }
    held = best | {stored.checkpoint.step: _last(stored) for stored in checkpoints}
    if step not in held:
        raise NotFound(
            f"Job {job_id} keeps the parameters after the steps {sorted(held)}, none of {step}.",
            code="checkpoint_not_found",
        )
    return held[step]
