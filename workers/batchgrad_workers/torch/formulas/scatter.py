"""Gradients of a table whose rows are looked up: row v of g_n is Σ_t δ_nt over id_nt = v."""

import math

import torch
from torch import Tensor

from batchgrad_workers.torch.formulas import rounding
from batchgrad_workers.torch.formulas.base import Gradients, lengths, weighted


class Scatter(Gradients):
    """From ids (n, T) and errors (n, T, d), in `shape` (V, …) of V·d numbers.

    Lookups of the row `padding` give none.
    """

    def __init__(
        self, ids: Tensor, errors: Tensor, shape: tuple[int, ...], padding: int | None = None
    ) -> None:
        if padding is not None:
            errors = errors.masked_fill((ids == padding)[..., None], 0.0)
        self.ids, self.errors, self.shape = ids, errors, shape
        self._flat = (shape[0], math.prod(shape[1:]))

    def __len__(self) -> int:
        return len(self.ids)

    def sums(self, weights: Tensor | None) -> Tensor:
        """Σ of w_n δ_nt by id."""
        errors = weighted(self.errors, weights).reshape(-1, self._flat[1])
        total = errors.new_zeros(self._flat).index_add_(0, self.ids.reshape(-1), errors)
        return total.view(self.shape)

    def each(self, rows: slice) -> Tensor:
        """g_n."""
        ids, errors = self.ids[rows], self.errors[rows]
        found = errors.new_zeros(len(ids), *self._flat)
        found.scatter_add_(1, ids[..., None].expand_as(errors), errors)
        return found.view(-1, *self.shape)

    def squared_norms(self) -> Tensor:
        """Σ over the unique ids of an example of ‖Σ_t δ_nt‖²."""
        if self.positions() == 1:
            return torch.linalg.vector_norm(self.errors[:, 0], dim=1, dtype=torch.float64).square()
        return self._squares(self.errors)

    def sizes(self) -> Tensor:
        """The root of Σ over the unique ids of (Σ_t ‖δ_nt‖)²."""
        return self._squares(lengths(self.errors)[..., None]).sqrt()

    def squared_norm_bounds(self) -> Tensor:
        """‖g_n‖², and what the sum may lose; at one position nothing cancels."""
        squares = self.squared_norms()
        if self.positions() == 1:
            return squares
        return squares + rounding.of_sums(self.positions(), self.dtype) * self.sizes().square()

    def positions(self) -> int:
        return self.ids.shape[1]

    @property
    def dtype(self) -> torch.dtype:
        return self.errors.dtype

    def _squares(self, terms: Tensor) -> Tensor:
        """Σ over the unique ids of ‖Σ_t x_nt‖² (n,) of terms (n, T, d), added by their ids."""
        n = len(self.ids)
        keys = self.ids + torch.arange(n, device=self.ids.device)[:, None] * self._flat[0]
        unique, places = torch.unique(keys.reshape(-1), return_inverse=True)
        totals = terms.new_zeros(len(unique), terms.shape[2])
        totals.index_add_(0, places, terms.reshape(-1, terms.shape[2]))
        squares = torch.linalg.vector_norm(totals, dim=1, dtype=torch.float64).square()
        owners = torch.div(unique, self._flat[0], rounding_mode="floor")
        return squares.new_zeros(n).index_add_(0, owners, squares)

    def join(self, others: list[Gradients]) -> Gradients | None:
        """One after another along T."""
        if not others:
            return self
        uses = [use for use in [self, *others] if isinstance(use, Scatter)]
        ids = torch.cat([use.ids for use in uses], 1)
        return Scatter(ids, torch.cat([use.errors for use in uses], 1), self.shape)
