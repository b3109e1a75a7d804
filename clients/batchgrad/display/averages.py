"""Means over steps: a step counts for as much as its examples weigh."""

from collections.abc import Iterable

from batchgrad.contract import StepRow


def weight(row: StepRow) -> float:
    """Σ w_n of a step; 1 where an older service did not say it."""
    return 1.0 if row.weight is None else row.weight


def mean_loss(steps: Iterable[tuple[float, float]]) -> float | None:
    """Σ W_s ℓ_s / Σ W_s over (ℓ_s, W_s): the mean loss of the steps' examples; None of none.

    A step's loss is the mean of its examples'. The mean of those means would count an example of
    a small minibatch for more than one of a large minibatch.
    """
    steps = list(steps)
    heaviest = max((weight for _, weight in steps), default=0.0)
    if not heaviest:
        return None
    relative = [(loss, weight / heaviest) for loss, weight in steps]
    return sum(loss * part for loss, part in relative) / sum(part for _, part in relative)
