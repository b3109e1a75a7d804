"""How far rounding takes sums and norms of products whose terms cancel, where clipping must hold.

Let g = Σ_t δ_t a_tᵀ have terms of length B = Σ_t ‖a_t‖‖δ_t‖ in all, and a norm N of it as formed
here. The product that sums f∘g over a microbatch rounds it otherwise, by at most κB. With
f ≤ C/√(N² + γB²), what it adds is at most f(N + κB) ≤ C√(1 + κ²/γ) (Cauchy and Schwarz), which is
C(1 + 2⁻⁸) with γ = 2⁷κ². γ follows from shapes alone: would it follow from how many examples there
are, one more would shorten all the others.
"""

import torch

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
