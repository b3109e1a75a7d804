"""Messages between the service and a preflight process."""

from pathlib import Path

from batchgrad.contract import FieldError, JobSpec, PlannedLayer, TorchPlan
from batchgrad_engine.messages import Message
from batchgrad_workers.user_code.sources import CodeSource


class Request(Message):
    """Examine the module of `spec` on the rows of its datasets, which are in these directories.

    Beyond what it has at its start, the process may allocate `memory_bytes`.
    """

    spec: JobSpec
    dataset: Path
    validation_dataset: Path | None
    initial_parameters: Path | None
    code: CodeSource
    memory_bytes: int


class Examined(Message):
    """What was found about a module.

    `memory_bytes` is the most that the process held, with θ and one microbatch. `files` are those
    with the module's code, with their times of change in ns and their sizes. `shortcuts` are those
    that the job will measure. The numbers of examples are of those with a weight above 0, by the
    task's weights too.
    """

    plan: TorchPlan
    layers: list[PlannedLayer]
    parameters: int
    training_examples: int
    validation_examples: int
    steps_per_epoch: int
    minibatch_size: int
    weighted: bool
    has_accuracy: bool
    has_values: bool
    shortcuts: list[str]
    memory_bytes: int
    warnings: list[str]
    files: dict[str, tuple[int, int]]


class Preflighted(Message):
    """The answer: what was found, or what in the spec prevents training."""

    examined: Examined | None = None
    problem: FieldError | None = None
