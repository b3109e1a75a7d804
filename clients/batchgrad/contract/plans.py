"""The plan of a job: what it would do, computed without running it."""

from typing import Literal

from pydantic import Field

from batchgrad.contract.training.privacy import Accountant
from batchgrad.contract.wire import Answer

__all__ = ["Plan", "PlannedLayer", "PlannedPrivacy", "TorchParameter", "TorchPlan"]


class PlannedLayer(Answer):
    """A layer with its shapes for this dataset."""

    name: str
    kind: str
    output_shape: list[int]
    parameters: int


class TorchParameter(Answer):
    """A parameter of a PyTorch module."""

    name: str
    shape: list[int]
    trainable: bool


class TorchPlan(Answer):
    """How a PyTorch task's gradients would be computed.

    `path` together computes a microbatch as a whole, one_by_one each example; `why` says why.
    `uncovered` names parameters without a formula, which autograd computes. `random` names the
    functions that draw random numbers. `unavailable` says why shortcuts are not measured.
    `source_digest` is of the code's files.
    """

    function: str
    path: Literal["together", "one_by_one"]
    why: str
    uncovered: list[str]
    random: list[str]
    parameters: list[TorchParameter]
    unavailable: dict[str, str]
    source_digest: str


class PlannedPrivacy(Answer):
    """The differential privacy of a job, known before it runs.

    `noise_multiplier` is σ, in units of the clip norm. `sampling_rate` is q: each training row, or
    unit, is in a minibatch with this probability. `epsilon` is what all `steps` spend at `delta`;
    it is null, and `unsafe` true, where the service has a fixed key, as in tests.
    """

    noise_multiplier: float
    sampling_rate: float
    epsilon: float | None
    delta: float
    steps: int
    accountant: Accountant
    unsafe: bool = False


class Plan(Answer):
    """What a job would do, computed from its spec and dataset without running it."""

    dataset_digest: str
    training_examples: int
    validation_examples: int
    parameters: int
    layers: list[PlannedLayer]
    steps_planned: int
    steps_per_epoch: int
    microbatches_per_step: int
    microbatch_size: int
    shortcuts: list[str]
    gradient_bytes: int
    memory_bytes: int = Field(description="held by a process that computes with one thread")
    warnings: list[str]
    classes: list[str] | None = Field(
        default=None, description="names of the classes 0, 1, …, which are the outputs in order"
    )
    torch: TorchPlan | None = Field(default=None, description="of a PyTorch task")
    privacy: PlannedPrivacy | None = Field(default=None, description="of a private job")
