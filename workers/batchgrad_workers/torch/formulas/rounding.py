"""Products whose terms cancel: norms from Gram matrices, and how far rounding takes what is summed.

Let g = Σ_t δ_t a_tᵀ have terms of length B = Σ_t ‖a_t‖‖δ_t‖ in all, and a norm N of it as formed
here. The product that sums f∘g over a microbatch rounds it otherwise, by at most κB. With
f ≤ C/√(N² + γB²), what it adds is at most f(N + κB) ≤ C√(1 + κ²/γ) (Cauchy and Schwarz), which is
C(1 + 2⁻⁸) with γ = 2⁷κ². γ follows from shapes alone: would it follow from how many examples there
are, one more would shorten all the others.
"""

import torch
from torch import Tensor

LEAST_SHARE = 2.0**-10
"""Of the sum of products' sizes: below it a sum of them has lost too many digits."""

MARGIN = 2.0**7
"""γ is so many times κ²."""


def of_sums(positions: int, dtype: torch.dtype) -> float:
    """γ for g of so many positions T, formed twice: κ = 2(T + 4)u, and √(2u) at least.

    That covers T + 4 roundings in either, and those of the sum over examples: √(2u) is some 5,000
    roundings in float32.
    """
    unit = torch.finfo(dtype).eps / 2
    return MARGIN * max(2 * unit, (2 * (positions + 4) * unit) ** 2)


def of_gram(positions: int, numbers: int, dtype: torch.dtype) -> float:
    """By which share of B² a squared norm from Gram matrices may be too small.

    `numbers` are i + o of a and δ. Each of T² terms is rounded i + o + 1 times, and as one of T in
    its row's sum.
    """
    return 1.06 * (numbers + positions + 4) * torch.finfo(dtype).eps / 2


def norms_by_gram(patches: Tensor, errors: Tensor) -> Tensor:
    """‖Σ_t δ_t a_tᵀ‖² in float64 over all groups, from a (n, groups, j, L) and δ (n, groups, k, L).

    nan where products of that dtype cannot tell: where they cancel, or leave its range.
    """
    n, groups = patches.shape[:2]
    patches, errors = patches.flatten(0, 1), errors.flatten(0, 1)
    inner = patches.transpose(1, 2) @ patches, errors.transpose(1, 2) @ errors
    squares = (inner[0] * inner[1]).sum((1, 2), dtype=torch.float64)
    sizes = [each.diagonal(dim1=1, dim2=2).double() for each in inner]
    bound = (sizes[0] * sizes[1]).sqrt().sum(1).square()
    squares, bound = squares.view(n, groups).sum(1), bound.view(n, groups).sum(1)
    smallest = torch.stack([each.amax(1).view(n, groups).amin(1) for each in sizes]).amin(0)
    sure = (squares > LEAST_SHARE * bound) & (smallest > 2.0**-90) & squares.isfinite()
    return torch.where(sure, squares, torch.nan)
