"""Failures that end a job: `reason` is a word for machines, the text is for people.

Failure
├── NonFinite               nonfinite
│   ├── NonFiniteExamples      examples whose loss or gradient overflows
│   ├── NonFiniteSums          finite examples whose weighted sum overflows
│   ├── NonFiniteParameters    an update that overflows
│   └── NonFiniteEvaluation    a validation loss that is not finite
├── BadInputs               bad_inputs
├── BadInitialParameters    bad_initial_parameters
├── NoWorkers               no_workers
├── WorkersLost             workers_lost
└── ObjectStoreFull         out_of_memory
"""

from typing import ClassVar

from batchgrad_engine.messages import Finished
from batchgrad_workers.module_config import BadModule
from batchgrad_workers.system.disk import disk_full_message


class Failure(Exception):
    """The job failed, and another attempt would fail the same way."""

    reason: ClassVar[str]


class NonFinite(Failure):
    """A number is infinite or NaN."""

    reason = "nonfinite"


class NonFiniteExamples(NonFinite):
    """The loss or gradient of these examples is not finite."""

    def __init__(self, step: int, examples: list[int], minibatch: int, *, dropping: bool) -> None:
        some = f"{len(examples)} of {minibatch} examples, first {examples[:10]}"
        if step == 1:
            advice = "There was no update yet, so the inputs, targets or initial_parameters "
            advice += "themselves are too large. Set standardize: true, "
            advice += "scale them down, or use precision: float64"
            advice += "." if dropping else "; nonfinite: drop leaves these examples out."
        elif len(examples) > minibatch / 2:
            advice = "Most of a minibatch at once means that training has diverged: lower the "
            advice += "learning rate, or clip with optimizer.clip_norm."
        else:
            advice = "Check these examples, lower the learning rate, or standardize the inputs"
            advice += "." if dropping else "; nonfinite: drop leaves these examples out."
        if dropping:
            some += ", so no example remains when they are dropped"
        super().__init__(f"Step {step}: loss or gradient is not finite for {some}. {advice}")


class NonFiniteSums(NonFinite):
    """Every example is finite, but their weighted sum is not."""

    def __init__(self, step: int) -> None:
        updated = "lower the learning rate, " if step > 1 else ""
        super().__init__(
            f"Step {step}: every example is finite, but their weighted sum is not. Standardize the "
            f"inputs, {updated}or use precision: float64."
        )


class NonFiniteParameters(NonFinite):
    """An update produced parameters that are not finite."""

    def __init__(self, step: int) -> None:
        super().__init__(
            f"The parameters are not finite after step {step}: lower the learning rate."
        )


class NonFiniteEvaluation(NonFinite):
    """The validation loss is not finite, because of the last update or of an example."""

    def __init__(self, step: int) -> None:
        super().__init__(
            f"The validation loss is not finite after step {step}. Lower the learning rate, "
            "standardize the inputs, or check the validation examples."
        )


class BadInputs(Failure):
    """The inputs do not fit the spec."""

    reason = "bad_inputs"


class BadInitialParameters(Failure):
    """The file with initial parameters does not fit this network."""

    reason = "bad_initial_parameters"


class NoWorkers(Failure):
    """Every worker was lost, and none replaced them."""

    reason = "no_workers"


class WorkersLost(Failure):
    """Worker after worker was lost with the same microbatches."""

    reason = "workers_lost"

    def __init__(self, step: int, microbatches: tuple[int, int], losses: int, last: str) -> None:
        start, stop = microbatches
        self.step, self.losses = step, losses
        super().__init__(
            f"Step {step + 1}: {losses} workers were lost one after another with microbatches "
            f"{start} to {stop - 1}; the last one {last}. Check its node's memory (a smaller "
            "microbatch_size needs less) and the worker's log there."
        )


class ObjectStoreFull(Failure):
    """Ray's object store has no room for θ or the worker config, in memory or on disk."""

    reason = "out_of_memory"

    def __init__(self, error: str) -> None:
        super().__init__(
            f"Ray's object store is full ({error}). It uses /dev/shm, and, when that is full, the "
            "disk of Ray's temporary directory: free space there, make the store larger "
            "(object_store_memory_bytes for the service's private cluster, --object-store-memory "
            "of ray start for another), or run fewer jobs at once."
        )


def failed_in_private(reason: str, error: BaseException, step: int) -> Finished:
    """As `failed`, for a private job: other errors than ours may tell of rows and their numbers."""
    if isinstance(error, WorkersLost):
        detail = f"Step {error.step + 1}: {error.losses} workers were lost one after another. Check"
        detail += " their nodes' memory (a smaller microbatch_size needs less) and their logs."
    elif isinstance(error, Failure | BadModule):
        detail = str(error)
    else:
        detail = f"{type(error).__name__}; engine.log in the job's folder has more. It may tell of "
        detail += "rows, so it is not shown."
    return Finished(outcome="failed", reason=reason, detail=detail, step=step)


def failed(reason: str, error: BaseException, step: int) -> Finished:
    """The last message of an engine whose job failed with `error` after `step` steps."""
    detail = str(error) or type(error).__name__
    return Finished(outcome="failed", reason=reason, detail=detail, step=step)


def disk_full(error: BaseException, step: int = 0) -> Finished:
    """The last message of an engine that could not write; another attempt can resume the job."""
    detail = disk_full_message(error)
    return Finished(outcome="interrupted", reason="disk_full", detail=detail, step=step)
