"""Per-example gradients of a convolution's weight.

n example, i input channel, o output channel, k kernel offset, t output position, L of them.

    g_n[o,i,k] = Σ_t δ_n[o,t] a_n[i, t·stride + k·dilation - padding]
    ‖g_n‖² = Σ_{t,s} ⟨patch_t, patch_s⟩⟨δ_t, δ_s⟩

A convolution in n times as many groups, one example in each, gives all g_n in one call: where an
example has many positions this costs little more than their sum. Where it has few, the norms come
from the Gram matrices of its patches and errors, and g_n are never formed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from batchgrad_workers.torch.formulas import rounding
from batchgrad_workers.torch.formulas.base import Formed, Gradients, chunks, squared, weighted
from batchgrad_workers.torch.formulas.conv_geometry import Geometry, of_examples

KEPT_BYTES = 2**24
"""Of g_n that are kept between their norms and their clipped sum, for one use of a weight."""

GRAM = 32
"""g_n are formed unless GRAM·L² is below their size: measured with 2 to 32 pixels a side."""


@dataclass(frozen=True)
class Use:
    """One use of a weight: inputs (n·m, channels, …) and errors, m images an example."""

    geometry: Geometry
    inputs: Tensor
    error: Tensor

    def part(self, rows: slice, n: int) -> "Use":
        """The images of the examples in `rows`."""
        images = len(self.inputs) // n
        own = slice(rows.start * images, rows.stop * images)
        return Use(self.geometry, self.inputs[own], self.error[own])


class OfWeight(Gradients):
    """g_n of a convolution's weight, in one or more uses."""

    def __init__(self, uses: list[Use], shape: tuple[int, ...], n: int) -> None:
        self.uses, self.shape, self.n = uses, shape, n
        self._kept: Tensor | None = None

    def __len__(self) -> int:
        return self.n

    def sums(self, weights: Tensor | None) -> Tensor:
        """Σ w_n g_n, from g_n where they are at hand, else from w_n δ_n."""
        if self._kept is not None:
            return Formed(self._kept).sums(weights)
        return sum_of([self._sum(use, weights) for use in self.uses])

    def each(self, rows: slice) -> Tensor:
        """g_n: the images of an example, and the uses, added."""
        if self._kept is not None:
            return self._kept[rows]
        found = []
        for use in self.uses:
            own = use.part(rows, self.n)
            images = own.geometry.weight_gradients(own.inputs, own.error, self.shape)
            count = rows.stop - rows.start
            found.append(
                images if len(images) == count else images.unflatten(0, (count, -1)).sum(1)
            )
        return sum_of(found)

    def squared_norms(self) -> Tensor:
        """‖g_n‖²; keeps g_n that are formed, if they are few bytes."""
        return self._squares(None)

    def sizes(self) -> Tensor:
        """√(offsets of the kernel)·‖a_n‖‖δ_n‖ of its images, over all uses.

        At one offset, g_n is a product of a part of a_n with δ_n.
        """
        found = []
        for use in self.uses:
            inputs, errors = (squared(each.reshape(self.n, -1)) for each in (use.inputs, use.error))
            found.append((prod(self.shape[2:]) * inputs * errors).sqrt())
        return sum_of(found)

    def squared_norm_bounds(self) -> Tensor:
        """‖g_n‖², and what Gram matrices and the sum may lose."""
        sizes = self.sizes().square()
        groups, channels = self.uses[0].geometry.groups, self.shape[0]
        numbers = prod(self.shape[1:]) + channels // groups
        lost = rounding.of_gram(self.positions(), numbers, self.dtype) * sizes
        return self._squares(lost) + rounding.of_sums(self.positions(), self.dtype) * sizes

    def positions(self) -> int:
        """L of one example, over its images and all uses."""
        return sum(use.error[0, 0].numel() * (len(use.error) // self.n) for use in self.uses)

    @property
    def dtype(self) -> torch.dtype:
        return self.uses[0].error.dtype

    def _squares(self, lost_by_gram: Tensor | None) -> Tensor:
        """‖g_n‖²; where it comes from Gram matrices, with what they may have lost (n,)."""
        if self._few_places():
            return self._from_gram(lost_by_gram)
        if self._bytes_each() * self.n <= KEPT_BYTES:
            self._kept = torch.cat([self.each(rows) for rows in self._chunks()])
            return squared(self._kept)
        return torch.cat([squared(self.each(rows)) for rows in self._chunks()])

    def sums_and_squared_norms(self, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        """Both from g_n, of a few examples at a time, where these are formed."""
        if self._few_places():
            return self.sums(weights), self._from_gram(None)
        total, squares = self.uses[0].error.new_zeros(self.shape), []
        for rows in self._chunks():
            formed = Formed(self.each(rows))
            total += formed.sums(None if weights is None else weights[rows])
            squares.append(formed.squared_norms())
        return total, torch.cat(squares)

    def join(self, others: list[Gradients]) -> Gradients | None:
        """All uses as convolutions of one weight."""
        uses = list(self.uses)
        for other in others:
            if not isinstance(other, OfWeight):
                return None
            uses += other.uses
        return OfWeight(uses, self.shape, self.n) if others else self

    def _sum(self, use: Use, weights: Tensor | None) -> Tensor:
        if weights is not None and len(use.error) != self.n:
            weights = weights.repeat_interleave(len(use.error) // self.n)
        error = weighted(use.error, weights)
        return use.geometry.weight_gradient(use.inputs, error, self.shape)

    def _few_places(self) -> bool:
        groups = {use.geometry.groups for use in self.uses}
        if len(groups) > 1 or any(use.geometry.transposed for use in self.uses):
            return False
        return GRAM * self.positions() ** 2 * groups.pop() < prod(self.shape)

    def _bytes_each(self) -> int:
        return prod(self.shape) * self.uses[0].error.element_size()

    def _chunks(self) -> Iterator[slice]:
        """Examples whose inputs, errors and g_n stay in the cache together."""
        read = sum(x.nbytes for use in self.uses for x in (use.inputs, use.error))
        return chunks(self.n, self._bytes_each() + read // self.n)

    def _from_gram(self, lost: Tensor | None) -> Tensor:
        kernel, item = self.shape[2:], self.uses[0].error.element_size()
        seen = prod(self.shape[1:]) * self.uses[0].geometry.groups * self.positions() * item
        squares = []
        for rows in chunks(self.n, seen):
            count = rows.stop - rows.start
            patches, errors = [], []
            for use in self.uses:
                own, places = use.part(rows, self.n), tuple(use.error.shape[2:])
                geometry = own.geometry
                patches.append(of_examples(geometry.patches(own.inputs, kernel, places), count))
                error = own.error.reshape(len(own.error), geometry.groups, -1, prod(places))
                errors.append(of_examples(error, count))
            squares.append(rounding.norms_by_gram(torch.cat(patches, 3), torch.cat(errors, 3)))
        found = torch.cat(squares)
        if lost is not None:
            found += lost
        for row in found.isnan().nonzero()[:, 0].tolist():
            found[row : row + 1] = squared(self.each(slice(row, row + 1)))
        return found


def sum_of(tensors: list[Tensor]) -> Tensor:
    """Their sum."""
    total = tensors[0]
    for each in tensors[1:]:
        total = total + each
    return total
