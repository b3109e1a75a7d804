"""Gradients of a weight that is multiplied at T positions: g_n = Σ_t δ_nt a_ntᵀ.

‖g_n‖² is ⟨a aᵀ, δ δᵀ⟩ of two Gram matrices, T² numbers each (Li et al. 2022, Bu et al. 2022), or
that of g_n, formed, o·i numbers, a few examples at a time, from which the sum follows too. Where
the terms of the Gram sum cancel, g_n is formed.
"""

import torch
from torch import Tensor

from batchgrad_workers.torch.formulas import rounding
from batchgrad_workers.torch.formulas.base import (
    LEAST,
    Gradients,
    chunks,
    lengths,
    squared,
    weighted,
)

CANCELLING = 0.4
"""A Gram sum below ε^0.4 of the bound of its terms has lost too many digits."""

PASSES = 8
"""What to form g_n and to read it again costs beside their sum, in operations a number."""


class Outer(Gradients):
    """Σ_t δ_nt a_ntᵀ from inputs (n, T, i) and errors (n, T, o), in the shape (o, i)."""

    def __init__(self, inputs: Tensor, errors: Tensor) -> None:
        self.inputs, self.errors = inputs, errors
        self.shape = (errors.shape[2], inputs.shape[2])

    def __len__(self) -> int:
        return len(self.inputs)

    def sums(self, weights: Tensor | None) -> Tensor:
        """Σ (w ∘ δ)ᵀ a over n·T."""
        inputs, errors = self.inputs, self.errors
        if self.shape[0] <= self.shape[1]:
            errors = weighted(errors, weights)
        else:
            inputs = weighted(inputs, weights)
        return errors.reshape(-1, self.shape[0]).t() @ inputs.reshape(-1, self.shape[1])

    def each(self, rows: slice | Tensor) -> Tensor:
        """g_n."""
        return self.errors[rows].mT @ self.inputs[rows]

    def squared_norms(self) -> Tensor:
        """By the way that costs fewer operations."""
        return self._squares(None)

    def sizes(self) -> Tensor:
        """Σ_t ‖a_t‖‖δ_t‖."""
        return (lengths(self.inputs) * lengths(self.errors)).sum(1)

    def squared_norm_bounds(self) -> Tensor:
        """‖g_n‖², and what Gram matrices and the sum may lose; at one position nothing cancels."""
        if self.positions() == 1:
            return self.squared_norms()
        sizes = self.sizes().square()
        lost = rounding.of_gram(self.positions(), sum(self.shape), self.dtype) * sizes
        return self._squares(lost) + rounding.of_sums(self.positions(), self.dtype) * sizes

    def positions(self) -> int:
        return self.inputs.shape[1]

    @property
    def dtype(self) -> torch.dtype:
        return self.inputs.dtype

    def _squares(self, lost_by_gram: Tensor | None) -> Tensor:
        """‖g_n‖²; where it comes from Gram matrices, with what they may have lost (n,)."""
        n, positions, _ = self.inputs.shape
        if positions == 1:
            return squared(self.inputs) * squared(self.errors)
        if self._gram_operations() < positions * self.shape[0] * self.shape[1]:
            found = self._gram()
            if lost_by_gram is not None:
                found += lost_by_gram
            lost = found.isnan().nonzero().flatten()
            for run in chunks(len(lost), self._bytes()):
                found[lost[run]] = squared(self.each(lost[run]))
            return found
        return torch.cat([squared(self.each(run)) for run in chunks(n, self._bytes())])

    def sums_and_squared_norms(self, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        """From g_n formed once, unless there are few positions."""
        n, positions, _ = self.inputs.shape
        if positions == 1 or self._gram_operations() < PASSES * self.shape[0] * self.shape[1]:
            return self.sums(weights), self.squared_norms()
        total = self.inputs.new_zeros(self.shape)
        flat, norms = total.view(-1), []
        for run in chunks(n, self._bytes()):
            formed = self.each(run)
            norms.append(squared(formed))
            shares = self.inputs.new_ones(len(formed)) if weights is None else weights[run]
            flat.addmv_(formed.flatten(1).t(), shares)
        return total, torch.cat(norms)

    def join(self, others: list[Gradients]) -> Gradients | None:
        """One after another along T."""
        if not others:
            return self
        uses = [self, *others]
        return Outer(
            torch.cat([use.inputs for use in uses if isinstance(use, Outer)], 1),
            torch.cat([use.errors for use in uses if isinstance(use, Outer)], 1),
        )

    def _gram_operations(self) -> int:
        return self.inputs.shape[1] ** 2 * (self.shape[0] + self.shape[1])

    def _bytes(self) -> int:
        return self.shape[0] * self.shape[1] * self.inputs.element_size()

    def _gram(self) -> Tensor:
        """⟨a aᵀ, δ δᵀ⟩ (n,); NaN where its terms cancel or are out of range."""
        n, positions, _ = self.inputs.shape
        least = LEAST * torch.finfo(self.inputs.dtype).tiny
        share = torch.finfo(self.inputs.dtype).eps ** CANCELLING
        found = []
        for run in chunks(n, 2 * positions**2 * self.inputs.element_size()):
            inputs, errors = self.inputs[run], self.errors[run]
            product = inputs @ inputs.mT
            product *= errors @ errors.mT
            total = product.sum(2).sum(1, dtype=torch.float64)
            terms = product.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt()
            bound = terms.sum(1, dtype=torch.float64).square()
            usable = (total > share * bound) & (bound > least) & torch.isfinite(total)
            found.append(total.masked_fill_(~usable, torch.nan))
        return torch.cat(found)
