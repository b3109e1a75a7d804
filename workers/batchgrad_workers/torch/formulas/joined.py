"""Gradients of a parameter that is used several times: norms are those of the sum of its uses."""

import torch
from torch import Tensor

from batchgrad_workers.torch.formulas import rounding
from batchgrad_workers.torch.formulas.base import Gradients, chunks, squared
from batchgrad_workers.torch.formulas.outer import CANCELLING, Outer
from batchgrad_workers.torch.formulas.scatter import Scatter


def joined(uses: list[Gradients]) -> Gradients:
    """Uses of one parameter as one."""
    groups: dict[type[Gradients], list[Gradients]] = {}
    for use in uses:
        groups.setdefault(type(use), []).append(use)
    parts: list[Gradients] = []
    for first, *others in groups.values():
        whole = first.join(others)
        parts += [first, *others] if whole is None else [whole]
    if len(parts) == 1:
        return parts[0]
    outer = [part for part in parts if isinstance(part, Outer)]
    scatter = [part for part in parts if isinstance(part, Scatter)]
    if len(parts) == 2 and outer and scatter:
        return Tied(outer[0], scatter[0])
    return Several(parts)


class Several(Gradients):
    """Uses whose g_n are formed and added."""

    def __init__(self, uses: list[Gradients]) -> None:
        self.uses, self.shape = uses, uses[0].shape

    def __len__(self) -> int:
        return len(self.uses[0])

    def sums(self, weights: Tensor | None) -> Tensor:
        """Σ over the uses."""
        first, *others = self.uses
        total = first.sums(weights)
        for use in others:
            total = total + use.sums(weights)
        return total

    def each(self, rows: slice) -> Tensor:
        """Σ over the uses."""
        first, *others = self.uses
        total = first.each(rows)
        for use in others:
            total = total + use.each(rows)
        return total

    def squared_norms(self) -> Tensor:
        """Of g_n formed in chunks."""
        return torch.cat([squared(self.each(run)) for run in chunks(len(self), self.row_bytes())])

    def sizes(self) -> Tensor | None:
        """Σ over the uses; None if one does not know its own."""
        total = self.uses[0].sizes()
        for use in self.uses[1:]:
            own = use.sizes()
            total = None if total is None or own is None else total + own
        return total

    def positions(self) -> int:
        return sum(use.positions() for use in self.uses)

    @property
    def dtype(self) -> torch.dtype:
        return self.uses[0].dtype


class Tied(Several):
    """A table that is also the weight of a product: an embedding and its head."""

    def __init__(self, outer: Outer, scatter: Scatter) -> None:
        super().__init__([outer, scatter])
        self.outer, self.scatter = outer, scatter

    def squared_norms(self) -> Tensor:
        """‖head‖² + ‖table‖² + 2 Σ_ts δ_t[id_s] ⟨a_t, ε_s⟩; g_n is formed where that cancels."""
        return self._squares(None)

    def squared_norm_bounds(self) -> Tensor:
        """‖g_n‖², and what products and the sum may lose."""
        sizes = (self.outer.sizes() + self.scatter.sizes()).square()
        lost = rounding.of_gram(2 * self.positions(), sum(self.shape), self.dtype) * sizes
        return self._squares(lost) + rounding.of_sums(self.positions(), self.dtype) * sizes

    def _squares(self, lost_by_products: Tensor | None) -> Tensor:
        """‖g_n‖², with what products may have lost (n,) unless it is formed."""
        outer, scatter = self.outer, self.scatter
        head, table = outer.squared_norms(), scatter.squared_norms()
        places = scatter.ids[:, None].expand(-1, outer.errors.shape[1], -1)
        cross = outer.errors.gather(2, places) * (outer.inputs @ scatter.errors.mT)
        total = head + table + 2 * cross.sum((1, 2), dtype=torch.float64)
        bound = (head.sqrt() + table.sqrt()).square() + cross.abs().sum((1, 2), dtype=torch.float64)
        kept = total > torch.finfo(outer.inputs.dtype).eps ** CANCELLING * bound
        lost = (~kept & (bound != 0)).nonzero().flatten()
        if lost_by_products is not None:
            total += lost_by_products
        for n in lost.tolist():
            total[n : n + 1] = squared(self.each(slice(n, n + 1)))
        return total
