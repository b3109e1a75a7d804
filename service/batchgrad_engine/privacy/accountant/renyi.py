"""ε by Rényi divergences (Mironov et al. 2019, https://arxiv.org/abs/1908.10530)."""

from math import isnan

from batchgrad_engine.privacy.accountant.library import dp_accounting
from batchgrad_engine.privacy.accountant.sampled_gaussian import SampledGaussian

ORDERS = (
    *(1 + each / 10 for each in range(1, 100)),
    *range(11, 64),
    *(64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896),
    *(1024, 1280, 1536, 2048),
)
"""α: small ε is proved by large orders, and large ε by small ones."""

ROUNDING = 1e-13
"""On top of each step's divergence: rounding makes divergences near 0 negative, and the library
would call the ε of those 0."""


class RenyiCurve:
    """ε by steps of `mechanism` with noise multiplier `sigma`."""

    def __init__(self, mechanism: SampledGaussian, sigma: float) -> None:
        self._delta = mechanism.delta
        if mechanism.adjacency != "zero_out":
            raise ValueError(f"rdp has no bound for adjacency: {mechanism.adjacency}.")
        library = dp_accounting()
        one = library.rdp.RdpAccountant(
            ORDERS, neighboring_relation=library.NeighboringRelation.REPLACE_SPECIAL
        )
        one.compose(
            library.PoissonSampledDpEvent(mechanism.q, library.GaussianDpEvent(float(sigma)))
        )
        self._divergences = one.rdp.clip(0) + ROUNDING
        self._compute_epsilon = library.rdp.compute_epsilon

    def epsilon(self, steps: int) -> float:
        """An upper bound on the ε of this many steps, perhaps inf."""
        if steps == 0:
            return 0.0
        found, _ = self._compute_epsilon(ORDERS, steps * self._divergences, self._delta)
        return float("inf") if isnan(found) else float(found)
