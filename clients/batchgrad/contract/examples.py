"""Single examples: their ledger over a run, and their influence on a step."""

from typing import Any, Literal

from pydantic import Field

from batchgrad.contract.wire import Answer

__all__ = [
    "ExampleInfluence",
    "ExampleInput",
    "InfluenceOrder",
    "JobRow",
    "Ledger",
    "LedgerEntry",
    "LedgerOrder",
    "StepExamples",
]

LedgerOrder = Literal["mean_norm", "mean_loss", "last_norm", "last_loss", "times_seen", "example"]
"""The largest first, `example` the smallest; examples that no minibatch held come last."""

InfluenceOrder = Literal["share", "norm", "alignment", "leave_one_out_distance", "loss", "example"]
"""The largest first: shares by size, whatever their sign; alignments the most opposed first."""


class JobRow(Answer):
    """A row of a job's dataset, by its number, and by its own `id` where the dataset has ids."""

    example: int
    id: str | None = None


class LedgerEntry(Answer):
    """One training example over the whole run; `target` is its class or number, where it has one.

    `class_name` is the class's name, where the dataset's classes have names; `id` the row's own,
    where it has ids. `suspicion` is the place by mean loss, 1 the largest, of which wrong labels
    come first.

    Losses and gradient norms are the example's own, without its weight, as they were whenever a
    minibatch held it. `prediction`, a class's name or number or numbers, with the class's
    `probability`, is that of the parameters that the job keeps, if it was asked for.
    """

    example: int
    id: str | None = None
    target: int | float | None
    class_name: str | None = None
    prediction: str | int | float | list[float] | None = None
    probability: float | None = None
    suspicion: int | None = None
    times_seen: int
    mean_loss: float | None
    mean_norm: float | None
    last_loss: float | None
    last_norm: float | None


class ExampleInput(Answer):
    """One example of a dataset: nested lists of numbers, as they were pushed.

    Of a table, `input` are its stored numbers and codes; a gap is null. `class_name` is the name of
    the class `target`, `id` the row's own name, where there are such. `arrays` are the example's
    rows of all other arrays; `input` and `target` are null in a dataset without them.
    """

    example: int
    input: Any
    target: Any
    class_name: str | None = None
    id: str | None = None
    arrays: dict[str, Any] = Field(default={})


class Ledger(Answer):
    """Loss and gradient norm of every training example up to `step`, sorted by `order`.

    Predictions are those of the parameters after `parameters_step` steps.
    """

    step: int
    parameters_step: int | None = None
    order: str
    data: list[LedgerEntry]
    next: str | None = None


class ExampleInfluence(Answer):
    """The influence of one example on a step; `id` is the row's own, where the dataset has ids.

    share: ⟨w_n g_n, G⟩ / (Σw ‖G‖²), which sum to 1; norm: ‖g_n‖; alignment: the cosine of g_n
    and G; leave_one_out_distance: ‖G₋ₙ - G‖ with G₋ₙ the mean gradient without this example.
    """

    example: int
    id: str | None = None
    weight: float
    loss: float
    share: float | None
    norm: float
    alignment: float | None
    leave_one_out_distance: float | None


class StepExamples(Answer):
    """The influence of each example on a step, replayed bit for bit from step `replayed_from`.

    `verified` says that the replayed gradient has the checksum that the run recorded.
    """

    step: int
    replayed_from: int
    gradient_norm: float
    gradient_checksum: str
    verified: bool
    data: list[ExampleInfluence]
