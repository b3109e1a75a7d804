"""The gap between each shortcut and the mean gradient G, in total and layer by layer.

Exact: G_l = mean_n vjp(a_n, δ_n). Frozen: F_l = vjp(ā, δ̄), the exact mean input and mean error
of this layer. Shortcut: s_l. The gap G - s is (G - F), the *covariance* that averaging destroys
at this layer, plus (F - s), the *propagation* of what was lost above. Everything is computed for
several steps at once, on the first axis s. Undefined figures are not finite, and null in JSON.
"""

from math import nan
from typing import TypedDict, cast

import numpy as np

from batchgrad.contract import ShortcutName
from batchgrad_engine.measurement.products import products
from batchgrad_engine.measurement.shortcuts import FROZEN, PLACES, Rows
from batchgrad_engine.step_columns import Columns, row_at
from batchgrad_workers.arrays import Array, Floats
from batchgrad_workers.nn.kernels.comparison import DIFFERENCE, EXACT, INNER, OWN, PROPAGATION
from batchgrad_workers.nn.kernels.norms import least, norm, norms
from batchgrad_workers.nn.network import Network
from batchgrad_workers.parameters import ParameterLayout
from batchgrad_workers.runtime.threads import ThreadPool


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
    network: Network, exact: Array, rows: Rows, pool: ThreadPool
) -> dict[ShortcutName, Columns]:
    """averaged_error and mean_example against G = `exact` (s, P): `Comparison`s by columns."""
    by_layer, scale = _products(network, exact, rows, pool), np.ones(len(exact))
    for s in _unsure(network, by_layer, exact):
        largest = float(np.abs(exact[s]).max(initial=0.0))
        scale[s] = np.exp2(np.frexp(largest)[1]) if 0 < largest < np.inf else 1.0
        own: Rows = {
            index: (inputs[s, None].astype(np.float64), errors[s, None] / scale[s])
            for index, (inputs, errors) in rows.items()
        }
        by_layer[:, s] = _products(network, exact[s, None] / scale[s], own, pool)[:, 0]
    names = [network.names[index] for index in network.learning]
    return {name: _comparisons(names, by_layer, k, scale) for name, k in PLACES.items()}


def compare_formed(
    layout: ParameterLayout, exact: Array, frozen: Array, shortcut: Array
) -> Comparison:
    """One shortcut s of one step against G, both (P,), with F (P,): total, and layer by layer."""
    layers: list[LayerGap] = []
    for layer in layout.learning:
        own = [each for each in layout.slices if each.layer == layer]
        part = slice(own[0].start, own[-1].start + own[-1].size)
        size = norm(exact[part])
        layers.append(
            {
                "name": layout.names[layer],
                "relative_error": norm(exact[part] - shortcut[part]) / size if size else nan,
                "covariance_norm": norm(exact[part] - frozen[part]),
                "propagation_norm": norm(frozen[part] - shortcut[part]),
            }
        )
    return {**agreement(exact, shortcut), "layers": layers}


def agreement(exact: Array, shortcut: Array) -> Agreement:
    """Compare one step's `shortcut` (P,) with `exact` (P,)."""
    return cast("Agreement", row_at(agreements(exact[None], shortcut[None]), 0))


def agreements(exact: Array, shortcut: Array) -> Columns:
    """Compare `shortcut` (s, P) with `exact` (s, P): `Agreement`s of each step by columns."""
    size, own = norms(exact), norms(shortcut)
    low, high = (limit**0.5 for limit in (least(exact.dtype), float(np.finfo(exact.dtype).max)))
    with np.errstate(all="ignore"):
        inner = np.vecdot(exact, shortcut).astype(np.float64)
        cosine = inner / size / own
        sure = (size > low) & (own > low) & (size < high) & (own < high) & np.isfinite(inner)
        for s in np.flatnonzero(~sure):
            cosine[s] = np.vecdot(exact[s] / size[s], shortcut[s] / own[s])
    return _agreements(size, norms(exact - shortcut), cosine, own)


def _products(network: Network, exact: Array, rows: Rows, pool: ThreadPool) -> Floats:
    """`products` of every layer that has parameters, (layers, s, 5, 3)."""
    starts = {each.layer: each.start for each in reversed(network.slices)}
    found = [
        products(network.layers[index], exact, starts[index], *rows[index], pool)
        for index in network.learning
    ]
    return np.array(found).reshape(-1, len(exact), 5, 3)


def _unsure(network: Network, by_layer: Floats, exact: Array) -> list[int]:
    """Indices of the steps whose squares overflowed or underflowed in the dtype of `exact`."""
    squares = np.delete(by_layer, INNER, axis=2)
    lost = ~np.isfinite(squares) | ((squares > 0) & (squares < least(exact.dtype)))
    found = set(np.flatnonzero(lost.any(axis=(0, 2, 3))).tolist())
    for layer, s in np.argwhere(by_layer[:, :, EXACT, FROZEN] == 0):
        slices = [each for each in network.slices if each.layer == network.learning[layer]]
        if exact[s, slices[0].start : slices[-1].start + slices[-1].size].any():
            found.add(int(s))
    return sorted(found)


def _comparisons(names: list[str], squares: Floats, place: int, scale: Floats) -> Columns:
    """One shortcut's figures, from squares (layers, s, 5, 3) of gradients over `scale` (s,)."""
    with np.errstate(all="ignore"):  # G is 0 in some layers
        relative = np.sqrt(squares[:, :, DIFFERENCE, place] / squares[:, :, EXACT, place])
    covariance = np.sqrt(squares[:, :, DIFFERENCE, FROZEN]) * scale
    propagation = np.sqrt(squares[:, :, PROPAGATION, place]) * scale
    layers = [
        {
            "name": (name,) * len(scale),
            "relative_error": tuple(errors),
            "covariance_norm": tuple(own),
            "propagation_norm": tuple(above),
        }
        for name, errors, own, above in zip(
            names, relative.tolist(), covariance.tolist(), propagation.tolist(), strict=True
        )
    ]
    whole = squares[..., place].sum(axis=0)
    size, difference, own = (np.sqrt(whole[:, k]) for k in (EXACT, DIFFERENCE, OWN))
    with np.errstate(all="ignore"):
        figures = _agreements(size, difference, whole[:, INNER] / size / own, own)
    return {**figures, "layers": layers}


def _agreements(exact: Floats, difference: Floats, cosine: Floats, own: Floats) -> Columns:
    """From ‖G‖, ‖G - s‖, the cosine, which rounding may put beyond 1, and ‖s‖, each (s,)."""
    with np.errstate(all="ignore"):
        figures = difference / exact, np.clip(cosine, -1, 1), own / exact
    undefined = ~np.isfinite(own) | (exact == 0)
    for figure in figures:
        figure[undefined] = np.nan
    error, alike, ratio = (tuple(figure.tolist()) for figure in figures)
    return {"relative_error": error, "cosine_similarity": alike, "norm_ratio": ratio}
