"""Norms of sums of outer products, from Gram matrices."""

import torch
from torch import Tensor

LEAST_SHARE = 2.0**-10
"""Of the sum of products' sizes: below it a sum of them has lost too many digits."""


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
