"""How far each shortcut is from the mean gradient G, whole and layer by layer.

Exact: G_l = mean_n vjp(a_n, δ_n). Frozen: F_l = vjp(ā, δ̄), the exact mean input and mean error
of this layer. Shortcut: s_l. The gap G - s is (G - F), the *covariance* that averaging destroys
at this layer, plus (F - s), the *propagation* of what was lost above. Everything is worked out for
several steps at once, the first axis s. What is not defined is not finite, and null in JSON.
"""

from math import sqrt
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from batchgrad.contract import ShortcutName
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
    starts = {slot.layer: slot.start for slot in reversed(network.slots)}
    by_layer = {
        str(index): products(network.layers[index], exact, starts[index], *rows[index], team)
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
    whole = np.zeros((steps, 5))
    layers: list[list[LayerGap]] = [[] for _ in range(steps)]
    for name, each in by_layer.items():
        whole += each[:, :, place]
        with np.errstate(all="ignore"):  # G is 0 in some layers
            relative_errors = np.sqrt(each[:, DIFFERENCE, place] / each[:, EXACT, place]).tolist()
        covariances = np.sqrt(each[:, DIFFERENCE, FROZEN]).tolist()
        propagations = np.sqrt(each[:, PROPAGATION, place]).tolist()
        for gaps, relative_error, covariance, propagation in zip(
            layers, relative_errors, covariances, propagations, strict=True
        ):
            gaps.append(
                {
                    "name": name,
                    "relative_error": relative_error,
                    "covariance_norm": covariance,
                    "propagation_norm": propagation,
                }
            )
    figures = _agreements(*(whole[:, k] for k in (EXACT, DIFFERENCE, INNER, OWN)))
    return [{**each, "layers": gaps} for each, gaps in zip(figures, layers, strict=True)]


def _agreements(exact: Floats, difference: Floats, inner: Floats, own: Floats) -> list[Agreement]:
    """From ‖G‖², ‖G - s‖², ⟨G, s⟩ and ‖s‖², each (s,)."""
    with np.errstate(all="ignore"):
        cosine = np.clip(inner / np.sqrt(exact * own), -1, 1)
        figures = np.sqrt(difference / exact), cosine, np.sqrt(own / exact)
    undefined = ~np.isfinite(own) | (exact == 0)
    for figure in figures:
        figure[undefined] = np.nan
    return [
        {"relative_error": error, "cosine_similarity": alike, "norm_ratio": ratio}
        for error, alike, ratio in zip(*(figure.tolist() for figure in figures), strict=True)
    ]
