"""The split of a step's noise multiplier among what the step makes known.

Gaussian mechanisms with multipliers σ_k on one minibatch are one with (Σ σ_k⁻²)^-½. A noisy loss
and the count behind a quantile have share · σ each, and the gradient what is left:
σ_g = (σ⁻² - Σ σ_k⁻²)^-½.
"""

from math import sqrt

from batchgrad.contract import LossReport, Privacy
from batchgrad.contract.training.privacy import COUNT_SHARE


def gradient_multiplier(privacy: Privacy, sigma: float) -> float:
    """σ_g, the noise multiplier of the sum of gradients, from σ of the whole step."""
    left = 1.0 - sum(share**-2 for share in _shares(privacy))
    if left <= 0:
        raise ValueError(f"nothing is left for the gradient of the shares {_shares(privacy)}")
    return sigma / sqrt(left)


def loss_multiplier(privacy: Privacy, sigma: float) -> float:
    """The noise multiplier of the sum of losses, in units of loss_bound."""
    if not isinstance(privacy.report, LossReport):
        raise TypeError("no loss is reported")
    return privacy.report.share * sigma


def count_multiplier(privacy: Privacy, sigma: float) -> float:
    """The noise multiplier of the count of unclipped gradients, in units of its sensitivity."""
    if privacy.clipping != "quantile":
        raise TypeError(f"clipping {privacy.clipping} counts nothing")
    return COUNT_SHARE * sigma


def _shares(privacy: Privacy) -> list[float]:
    report = [privacy.report.share] if isinstance(privacy.report, LossReport) else []
    return report + ([COUNT_SHARE] if privacy.clipping == "quantile" else [])
