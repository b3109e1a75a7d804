"""Checks on live data, while a job runs, that examples are apart and that formulas hold."""

import torch

from batchgrad_workers.torch import one_by_one
from batchgrad_workers.torch.preflight.culprit import LOSSES, same
from batchgrad_workers.torch.preflight.mixing import CLOSE
from batchgrad_workers.torch.preflight.rows import replaced, taken
from batchgrad_workers.torch.refusal import Refused
from batchgrad_workers.torch.replica import Batch, Replica, Sums


def check(replica: Replica, batch: Batch, found: Sums, number: int, *, rounds: bool) -> None:
    """Repeat checks of the preflight on a microbatch, to be called every so many steps.

    Another example in one row may not change the others' losses by one bit (beyond rounding, where
    the preflight's record `rounds`); in another order the losses are the same; and the loss and
    norm of one row, computed alone, are those in `found`. `number` chooses the rows, so that calls
    with 0, 1, … take them in turn.

    Raises:
        Refused: one of them is not so; says which row, and what was expected.
    """
    n = len(batch)
    row = number % n
    if n > 1:
        _check_replaced(replica, batch, row, CLOSE[replica.dtype] if rounds else 0)
        _check_order(replica, batch)
    alone = one_by_one.sums(replica, batch.row(row))
    pairs = {
        "loss": (found.losses[row], alone.losses[0]),
        "norm of the gradient": (found.norms[row], alone.norms[0]),
    }
    close = CLOSE[replica.dtype]
    for what, (one, other) in pairs.items():
        if not torch.isclose(one.double(), other.double(), rtol=close, atol=close, equal_nan=True):
            raise Refused(
                f"The {what} of row {row} is {one.item():.9g} in its microbatch of {n} and "
                f"{other.item():.9g} alone. The model treats these rows in another way than those "
                "of the preflight: something in it depends on the other examples, or on their "
                "number."
            )


def _check_replaced(replica: Replica, batch: Batch, row: int, tolerance: float) -> None:
    others = [n for n in range(len(batch)) if n != row]
    before = replica.losses(batch).detach()[others]
    after = replica.losses(next(replaced(batch, row))).detach()[others]
    changed = ~same(before, after, tolerance)
    if changed.any():
        place = int(changed.nonzero()[0])
        raise Refused(
            f"With another example in row {row}, the loss of row {others[place]} is "
            f"{after[place].item():.9g} instead of {before[place].item():.9g}, so examples mix on "
            f"these rows, though they did not in the preflight. {LOSSES}"
        )


def _check_order(replica: Replica, batch: Batch) -> None:
    """Places that the preflight's few rows did not have are not treated otherwise."""
    order = list(reversed(range(len(batch))))
    before = replica.losses(batch).detach()[order]
    after = replica.losses(taken(batch, order)).detach()
    changed = ~same(before, after, CLOSE[replica.dtype])
    if changed.any():
        place = int(changed.nonzero()[0])
        raise Refused(
            f"The loss of row {order[place]} is {before[place].item():.9g}, and "
            f"{after[place].item():.9g} in row {place} of the same microbatch in reversed order: "
            "the model treats an example by its place in the batch. Use the examples' own arrays "
            "in place of torch.arange(n), table[:n] and the like over the first axis."
        )
