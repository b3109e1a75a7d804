"""How far each shortcut is from the mean gradient G, whole and layer by layer.

Exact: G_l = mean_n vjp(a_n, δ_n). Frozen: F_l = vjp(ā, δ̄), the exact mean input and mean error
of this layer. Shortcut: s_l. The gap G - s is (G - F), the *covariance* that averaging destroys
at this layer, plus (F - s), the *propagation* of what was lost above. Everything is worked out for
several steps at once, the first axis s; figures that are not defined are nan, and null in JSON.
"""

from math import sqrt
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from batchgrad.contract import ShortcutName
from batchgrad_service.engine import stacked
from batchgrad_service.engine.products import (
    DIFFERENCE,
    EXACT,
    INNER,
    OWN,
    PROPAGATION,
    products,
)
from batchgrad_service.engine.shortcuts import FROZEN, PLACES, Rows
from batchgrad_workers.arrays import Array
from batchgrad_workers.network import Network
from batchgrad_workers.threads import ThreadTeam

Floats = npt.NDArray[np.float64]


class Agreement(TypedDict):
    """A shortcut's gradient s against G.

    relative_error ‖G - s‖/‖G‖, cosine_similarity ⟨G, s⟩/(‖G‖‖s‖), norm_ratio ‖s‖/‖G‖.
    """

    relative_error: float
    cosine_similarity: float
    norm_ratio: float


class LayerGap(TypedDict):
    """One layer's gap: relative error, and the norms of its two parts."""

    name: str
    relative_error: float
    covariance_norm: float
    propagation_norm: float


class Comparison(Agreement):
    """One shortcut measured; `layers` is None for mean_of_means, which has no such parts."""

    layers: list[LayerGap] | None


def compare(
    network: Network, exact: Array, rows: Rows, team: ThreadTeam
) -> dict[ShortcutName, list[Comparison]]:
    """averaged_error and mean_example against G = `exact` (s, P): by name, for each step."""
    views = stacked.views(network, exact)
    by_layer = {
        str(index): products(network.layers[index], views[index], *rows[index], team)
        for index in network.learning
    }
    return {name: _comparisons(by_layer, place, len(exact)) for name, place in PLACES.items()}


def agreements(exact: Array, shortcut: Array) -> list[Agreement]:
    """How far `shortcut` (s, P) is from `exact` (s, P), for each step."""
    gap = exact - shortcut
    pairs = ((exact, exact), (gap, gap), (exact, shortcut), (shortcut, shortcut))
    return _agreements(*(np.vecdot(left, right).astype(np.float64) for left, right in pairs))


def norm(vector: Array) -> float:
    """‖v‖."""
    return sqrt(float(np.dot(vector, vector)))


def _comparisons(by_layer: dict[str, Floats], place: int, steps: int) -> list[Comparison]:
    """One shortcut's figures, from the products of every layer."""
    whole = np.zeros((5, steps))
    layers: list[list[LayerGap]] = [[] for _ in range(steps)]
    for name, each in by_layer.items():
        whole += each[:, :, place]
        relative_errors = _root_ratio(each[DIFFERENCE, :, place], each[EXACT, :, place])
        covariances = np.sqrt(each[DIFFERENCE, :, FROZEN]).tolist()
        propagations = np.sqrt(each[PROPAGATION, :, place]).tolist()
        for gaps, relative_error, covariance, propagation in zip(
            layers, relative_errors.tolist(), covariances, propagations, strict=True
        ):
            gaps.append(
                {
                    "name": name,
                    "relative_error": relative_error,
                    "covariance_norm": covariance,
                    "propagation_norm": propagation,
                }
            )
    figures = _agreements(whole[EXACT], whole[DIFFERENCE], whole[INNER], whole[OWN])
    return [{**each, "layers": gaps} for each, gaps in zip(figures, layers, strict=True)]


def _agreements(exact: Floats, difference: Floats, inner: Floats, own: Floats) -> list[Agreement]:
    """From ‖G‖², ‖G - s‖², ⟨G, s⟩ and ‖s‖², each (s,)."""
    cosine = np.clip(_ratio(inner, np.sqrt(exact * own)), -1, 1)
    figures = _root_ratio(difference, exact), cosine, _root_ratio(own, exact)
    for figure in figures:
        figure[~np.isfinite(own)] = np.nan
    return [
        {"relative_error": error, "cosine_similarity": alike, "norm_ratio": ratio}
        for error, alike, ratio in zip(*(figure.tolist() for figure in figures), strict=True)
    ]


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(
        numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator != 0
    )


def _root_ratio(numerator: Floats, denominator: Floats) -> Floats:
    return np.sqrt(_ratio(numerator, denominator))
