"""The influence of each example on one step, from its own gradient.

Symbols: g_n per-example gradient · w_n weight · W = Σ w_n · G = Σ w_n g_n / W. Gradients are
formed explicitly, a few examples at a time, because distances are taken of explicit differences;
inner products are added up in float64.
"""

from dataclasses import dataclass

import numpy as np

from batchgrad_workers.arrays import Array, Floats, Integers, Keys
from batchgrad_workers.data.example_weights import scaled
from batchgrad_workers.data.examples import Examples
from batchgrad_workers.nn.kernels.norms import norm
from batchgrad_workers.parameters import ParameterLayout
from batchgrad_workers.trainable import Trainable

CHUNK_BYTES = 2**26
"""Most bytes of gradients held at once; one example's gradient may be larger."""


@dataclass(frozen=True)
class Influence:
    """Figures of n examples, each (n,); NaN where undefined.

    share: ⟨w_n g_n, G⟩ / (W ‖G‖²), they sum to 1; norm: ‖g_n‖; alignment: cosine of g_n and G;
    leave_one_out_distance: ‖G₋ₙ - G‖ = w_n ‖G - g_n‖ / (W - w_n), with G₋ₙ the mean without n.
    """

    weight: Floats
    share: Floats
    norm: Floats
    alignment: Floats
    leave_one_out_distance: Floats


def example_influence(
    model: Trainable,
    parameters: Array,
    examples: Examples,
    ids: Integers,
    gradient: Array,
    chunk_bytes: int = CHUNK_BYTES,
    keys: Keys | None = None,
) -> Influence:
    """Influence of examples `ids` (n,) on G = `gradient` (P,) at θ = `parameters` (P,).

    `keys` (n,) are the examples' at this step, for dropout.
    """
    inner, squared, distance = np.zeros((3, len(ids)))
    chunk = chunk_size(model.layout, gradient, chunk_bytes)
    loaded = model.load(parameters)
    length = norm(gradient)
    unit = length or 1.0  # of all gradients below: their squares stay in range
    mean = model.layout.named(gradient.astype(np.float64) / unit)
    for start in range(0, len(ids), chunk):
        part = slice(start, start + chunk)
        batch = examples.rows(ids[part])._replace(keys=None if keys is None else keys[part])
        each = model.each(loaded, batch)
        for name, gradients in each.items():
            own = gradients.reshape(len(gradients), -1).astype(np.float64) / unit
            of_mean = mean[name].ravel()
            inner[part] += own @ of_mean
            squared[part] += np.einsum("np,np->n", own, own)
            own -= of_mean
            distance[part] += np.einsum("np,np->n", own, own)
    weight = examples.weights(ids)
    relative, _ = scaled(weight)
    total, size = relative.sum(), length / unit
    lengths = np.sqrt(squared)
    with np.errstate(divide="ignore", invalid="ignore"):  # 0/0 and x/0 are undefined, so NaN
        return Influence(
            weight,
            _defined(relative * inner / (total * size)),
            unit * lengths,
            _defined(np.clip(inner / (lengths * size), -1, 1)),
            _defined(relative * unit * np.sqrt(distance) / (total - relative)),
        )


def chunk_size(layout: ParameterLayout, gradient: Array, chunk_bytes: int) -> int:
    """Number of examples whose gradients, with float64 copies of one parameter's, fit."""
    largest = max((each.size for each in layout.slices), default=0)
    each = layout.size * gradient.itemsize + 2 * 8 * largest
    return max(1, chunk_bytes // max(each, 1))


def _defined(figures: Floats) -> Floats:
    return np.where(np.isfinite(figures), figures, np.nan)
