"""Means over steps, weighted by the sum of each step's weights."""

from collections.abc import Iterable

from batchgrad.contract import StepRow


def weight(row: StepRow) -> float:
    """Σ w_n of a step; 1 in rows of an older service, which have no weight."""
    return 1.0 if row.weight is None else row.weight


def mean_loss(steps: Iterable[tuple[float, float]]) -> float | None:
    """Σ W_s ℓ_s / Σ W_s over (ℓ_s, W_s): the mean loss of the steps' examples; None without any.

    A mean of the steps' losses would give an example of a small minibatch more weight than one of
    a large minibatch.
    """
    steps = list(steps)
    heaviest = max((weight for _, weight in steps), default=0.0)
    if not heaviest:
        return None
    relative = [(loss, weight / heaviest) for loss, weight in steps]
    return sum(loss * part for loss, part in relative) / sum(part for _, part in relative)
