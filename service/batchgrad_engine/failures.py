"""Why a job can't go on: `reason` is a word for machines, the text is for people.

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


class Failure(Exception):
    """A job ends here; trying again would end the same way."""

    reason: ClassVar[str]


class NonFinite(Failure):
    """A number is infinite or none; θ is still that before the step."""

    reason = "nonfinite"


class NonFiniteExamples(NonFinite):
    """The loss or gradient of these examples is not finite."""

    def __init__(self, step: int, examples: list[int], minibatch: int, *, dropping: bool) -> None:
        some = f"{len(examples)} of {minibatch} examples, first {examples[:10]}"
        if step == 1:
            advice = "Nothing was updated yet, so it comes of the numbers themselves: inputs, "
            advice += "targets or initial_parameters that are too large. Set standardize: true, "
            advice += "scale them down, or use precision: float64"
            advice += "." if dropping else "; nonfinite: drop leaves such examples out."
        elif len(examples) > minibatch / 2:
            advice = "Most of a minibatch at once means that training has diverged: lower the "
            advice += "learning rate, or clip with optimizer.clip_norm."
        else:
            advice = "Look at these examples, lower the learning rate, or standardize the inputs"
            advice += "." if dropping else "; nonfinite: drop leaves them out."
        if dropping:
            some += ", so nothing is left when they are dropped"
        super().__init__(f"Step {step}: loss or gradient is not finite for {some}. {advice}")


class NonFiniteSums(NonFinite):
    """Every example is finite, what they add up to is not."""

    def __init__(self, step: int) -> None:
        updated = "lower the learning rate, " if step > 1 else ""
        super().__init__(
            f"Step {step}: every example is finite, their weighted sum is not. Standardize the "
            f"inputs, {updated}or use precision: float64."
        )


class NonFiniteParameters(NonFinite):
    """An update made parameters that are not finite."""

    def __init__(self, step: int) -> None:
        super().__init__(
            f"The parameters are not finite after step {step}: lower the learning rate."
        )


class NonFiniteEvaluation(NonFinite):
    """The validation loss is not finite: the last update went astray, or an example is broken."""

    def __init__(self, step: int) -> None:
        super().__init__(
            f"The validation loss is not finite after step {step}. Lower the learning rate, "
            "standardize the inputs, or look at the validation examples."
        )


class BadInputs(Failure):
    """The inputs can't be used as the spec says."""

    reason = "bad_inputs"


class BadInitialParameters(Failure):
    """The file with initial parameters does not fit this network."""

    reason = "bad_initial_parameters"


class NoWorkers(Failure):
    """Every worker was lost, and none came instead."""

    reason = "no_workers"


class WorkersLost(Failure):
    """One worker after another ends at the same work."""

    reason = "workers_lost"

    def __init__(self, step: int, microbatches: tuple[int, int], losses: int, last: str) -> None:
        start, stop = microbatches
        super().__init__(
            f"Step {step + 1}: {losses} workers were lost one after another with microbatches "
            f"{start} to {stop - 1}; the last one {last}. Look at its node's memory (a smaller "
            "microbatch_size needs less) and at the log of the worker there."
        )


class ObjectStoreFull(Failure):
    """Ray has no room for θ or the job's setup, in memory or on disk."""

    reason = "out_of_memory"

    def __init__(self, said: str) -> None:
        super().__init__(
            f"Ray's object store is full ({said}). It lies in /dev/shm, and in the disk of Ray's "
            "temporary directory when that is full: make room there, give it more "
            "(object_store_memory_bytes for the service's private cluster, --object-store-memory "
            "of ray start for another), or run fewer jobs at once."
        )
