"""Choose which parameters of a job's checkpoints a download gives."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from batchgrad.contract import Kept
from batchgrad_engine.checkpoints.checkpoints import BadCheckpoint, GoneCheckpoint
from batchgrad_service.problems import ConflictError, InvalidError, NotFoundError
from batchgrad_service.store.records import StoredCheckpoint

log = logging.getLogger(__name__)
Exported = TypeVar("Exported")


@dataclass(frozen=True)
class Download:
    """The `which` parameters of the checkpoint in `file`, which are those after `step` steps."""

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
    """Choose the parameters that the job keeps, or `which`, or those after `step` steps.

    `checkpoints` are the job's, the newest first, at least one.

    Raises:
        InvalidError: both `which` and `step` are given.
        ConflictError: `which` is "best", and the job keeps no best parameters.
        NotFoundError: no checkpoint holds those of this step.
    """
    newest = checkpoints[0]
    if step is not None:
        if which is not None:
            raise InvalidError(f"Got step={step} and which={which}: give only one of them.")
        return _after(job_id, checkpoints, step)
    if which == "last" or (which is None and newest.checkpoint.best is None):
        return _last(newest)
    if newest.checkpoint.best is None:
        raise ConflictError(
            f"Job {job_id} keeps no best parameters: it was not evaluated yet, has no validation "
            "examples, or says keep: last. Ask for which=last.",
            code="no_best_parameters",
        )
    return _best(newest)


def newest_whole(
    job_id: str,
    checkpoints: Sequence[StoredCheckpoint],
    export: Callable[[Download], Exported],
    which: Kept | None = None,
    step: int | None = None,
) -> tuple[Exported, Download, list[str]]:
    """Export the newest undamaged parameters; return them, their source, and the damage found.

    A damaged checkpoint is skipped for the one before it, unless `step` names it.

    Raises:
        InvalidError, ConflictError, NotFoundError: as `choose`; NotFoundError also when the
            checkpoint was just replaced by a newer one, ConflictError when none is intact.
    """
    others, faults = list(checkpoints), list[str]()
    while True:
        chosen = choose(job_id, others, which, step)
        try:
            return export(chosen), chosen, faults
        except GoneCheckpoint:
            raise NotFoundError(
                f"The checkpoint of step {chosen.step} was just replaced by a newer one: request "
                "the parameters again.",
                code="checkpoint_not_found",
            ) from None
        except BadCheckpoint as bad:
            log.warning("Job %s: %s", job_id, bad)
            faults.append(str(bad))
            others = [stored for stored in others if stored.file != chosen.file]
            if step is None and others:
                continue
            steps = sorted(stored.checkpoint.step for stored in others)
            remedy = f"ask for those of another step, {steps}" if steps else "train it again"
            raise ConflictError(
                f"{bad} Its disk may fail. Job {job_id}: {remedy}.", code="bad_checkpoint"
            ) from None


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
        raise NotFoundError(
            f"Job {job_id} keeps the parameters after the steps {sorted(held)}, none of {step}.",
            code="checkpoint_not_found",
        )
    return held[step]
