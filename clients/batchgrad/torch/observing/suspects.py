"""Examples over time: how often each was seen, its losses and gradient norms."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from math import isnan
from typing import Literal, get_args

from batchgrad.errors import InvalidArgument

Order = Literal["mean_norm", "mean_loss", "last_norm", "last_loss", "times_seen"]
ORDERS: tuple[Order, ...] = get_args(Order)
MOST_UNNAMED = 10_000
"""Examples without ids of which figures are kept: those with the largest norms."""


@dataclass(slots=True)
class Suspect:
    """One example over all steps that saw it; `example` is its id, or (step, place in the batch).

    Losses and gradient norms are the example's own, as they were whenever a batch held it; losses
    are None where the loop gave none.
    """

    example: Hashable
    times_seen: int = 0
    mean_loss: float | None = None
    mean_norm: float | None = None
    last_loss: float | None = None
    last_norm: float | None = None
    _loss_sum: float = field(default=0.0, repr=False)
    _losses: int = field(default=0, repr=False)
    _norm_sum: float = field(default=0.0, repr=False)

    def add(self, norm: float, loss: float | None) -> None:
        """A step saw the example."""
        self.times_seen += 1
        self._norm_sum += norm
        self.last_norm, self.mean_norm = norm, self._norm_sum / self.times_seen
        if loss is not None:
            self._losses += 1
            self._loss_sum += loss
            self.last_loss, self.mean_loss = loss, self._loss_sum / self._losses


class Examples:
    """All examples that were seen."""

    def __init__(self) -> None:
        self._named: dict[Hashable, Suspect] = {}
        self._unnamed: list[Suspect] = []

    def add(
        self,
        step: int,
        ids: Sequence[Hashable] | None,
        norms: Sequence[float],
        losses: Sequence[float] | None,
    ) -> None:
        """Figures (n,) of a step; a norm that is NaN, of weight 0, is none."""
        for place, norm in enumerate(norms):
            if isnan(norm):
                continue
            loss = None if losses is None else losses[place]
            if ids is None:
                self._unnamed.append(Suspect((step, place)))
                self._unnamed[-1].add(norm, loss)
            else:
                known = self._named.get(ids[place])
                if known is None:
                    known = self._named[ids[place]] = Suspect(ids[place])
                known.add(norm, loss)
        if len(self._unnamed) > 2 * MOST_UNNAMED:
            self._unnamed = nlargest(
                MOST_UNNAMED, self._unnamed, key=lambda own: own.last_norm or 0.0
            )

    def largest(self, count: int, order: Order) -> list[Suspect]:
        """The first `count` by `order`, the largest first.

        Raises:
            InvalidArgument: There is no such order.
        """
        if order not in ORDERS:
            raise InvalidArgument(f"order is {order!r}; expected one of {', '.join(ORDERS)}.")
        known = [
            each
            for each in (*self._named.values(), *self._unnamed)
            if getattr(each, order) is not None
        ]
        return nlargest(count, known, key=lambda own: getattr(own, order))
