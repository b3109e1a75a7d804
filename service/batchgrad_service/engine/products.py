"""Norms and inner products of G_l, F_l and the shortcuts in one layer, for several steps at once.

Norms of differences are taken of the explicit difference: the factored form ‖G‖² - 2⟨G, v⟩ + ‖v‖²
loses half the digits and can go negative. Where v is rank one, one difference is formed, G - F,
and what lies between F and v is a difference of vectors. Symbols as in `stacked`.
"""

import numpy as np
import numpy.typing as npt

from batchgrad_service.engine import stacked
from batchgrad_service.engine.blocks import run
from batchgrad_service.engine.shortcuts import FROZEN, MEAN_EXAMPLE
from batchgrad_workers.arrays import Array
from batchgrad_workers.layers import Layer, Parameters
from batchgrad_workers.threads import ThreadTeam

Floats = npt.NDArray[np.float64]

EXACT, DIFFERENCE, PROPAGATION, INNER, OWN = range(5)
"""Places in what `products` returns: ‖G‖², ‖G - v‖², ‖F - v‖², ⟨G, v⟩ and ‖v‖²."""

BLOCK_BYTES = 1 << 18
"""How much of a layer's gradient is compared at once, so that it stays in the cache."""

CANCELLED = 1e-2
"""A sum so much smaller than its terms is not trusted; the difference itself is formed then."""


def products(
    layer: Layer, exact: Parameters, inputs: Array, errors: Array, team: ThreadTeam
) -> Floats:
    """(5, s, 3): G = `exact` against v = vjp(a, δ), of `inputs` and `errors` (s, 3, …)."""
    if stacked.on_vectors(layer):
        return _rank_one(exact, inputs, errors, team)
    found = np.zeros((5, len(inputs), 3))
    for s in range(len(inputs)):
        formed = layer.each_gradient(inputs[s], errors[s])
        found[:, s] = _formed({name: part[s] for name, part in exact.items()}, formed)
    return found


def _formed(exact: Parameters, formed: Parameters) -> Floats:
    """(5, 3) from G and the gradients v themselves, (3, …)."""
    found = np.zeros((5, 3))
    for name, each in formed.items():
        gradients, part = each.reshape(3, -1), exact[name].reshape(-1)
        lost = gradients[FROZEN] - gradients
        gap = part - gradients
        found[EXACT] += np.vecdot(part, part)
        found[DIFFERENCE] += np.vecdot(gap, gap)
        found[PROPAGATION] += np.vecdot(lost, lost)
        found[INNER] += gradients @ part
        found[OWN] += np.vecdot(gradients, gradients)
    return found


def _rank_one(exact: Parameters, inputs: Array, errors: Array, team: ThreadTeam) -> Floats:
    """The same where v = δ aᵀ, with D = G - F, d = δ̄ - δ and e = ā - a.

    F - v = d āᵀ + δ eᵀ;  ‖G - v‖² = ‖D‖² + 2 (⟨d, D ā⟩ + ⟨δ, D e⟩) + ‖F - v‖²;
    ⟨G, v⟩ = ⟨δ, D a⟩ + ⟨δ̄, δ⟩ ⟨ā, a⟩. A bias is the weight of one more input, which is always 1.
    """
    bias = exact.get("bias")
    constant = 0.0 if bias is None else 1.0
    a, delta = inputs.astype(np.float64), errors.astype(np.float64)
    mean, e, d = a[:, :1], a[:, :1] - a, delta[:, :1] - delta
    square, along_mean, along_shift = _covariance(exact, inputs, errors, team)
    along = np.zeros_like(delta)  # D e; averaged_error has the mean input that F has
    along[:, MEAN_EXAMPLE] = along_shift
    along_mean = along_mean[:, None]
    mean_square, shift = np.vecdot(mean, mean) + constant, np.vecdot(mean, e)
    parts = np.vecdot(d, d) * mean_square, np.vecdot(delta, delta) * np.vecdot(e, e)
    weight = exact["weight"].reshape(len(a), -1)
    found = np.empty((5, len(a), 3))
    found[EXACT] = np.vecdot(weight, weight)[:, None]
    if bias is not None:
        found[EXACT] += np.vecdot(bias, bias)[:, None]
    found[PROPAGATION] = parts[0] + 2 * np.vecdot(d, delta) * shift + parts[1]
    between = np.vecdot(d, along_mean) + np.vecdot(delta, along)
    found[DIFFERENCE] = square[:, None] + 2 * between + found[PROPAGATION]
    found[INNER] = np.vecdot(delta, along_mean - along)
    found[INNER] += np.vecdot(delta[:, :1], delta) * (mean_square - shift)
    found[OWN] = np.vecdot(delta, delta) * (np.vecdot(a, a) + constant)
    cancelled = found[DIFFERENCE] < CANCELLED * (square[:, None] + found[PROPAGATION])
    cancelled |= found[PROPAGATION] < CANCELLED * (parts[0] + parts[1])
    for s in np.flatnonzero(cancelled.any(axis=1)):
        formed = {"weight": errors[s, :, :, None] * inputs[s, :, None, :], "bias": errors[s]}
        found[:, s] = _formed(
            {name: part[s] for name, part in exact.items()},
            {name: formed[name] for name in exact},
        )
    return found


def _covariance(
    exact: Parameters, inputs: Array, errors: Array, team: ThreadTeam
) -> tuple[Floats, Floats, Floats]:
    """‖D‖² (s,), D ā and D (ā - a) (s, o) for mean_example's a; D is formed block by block.

    The blocks depend on the layer alone, not on steps and threads, and so do the sums' bits.
    """
    weight, mean, error = exact["weight"], inputs[:, FROZEN], errors[:, FROZEN]
    shift = mean - inputs[:, MEAN_EXAMPLE]
    steps, outputs, width = weight.shape
    rows = min(outputs, max(1, BLOCK_BYTES // (width * weight.itemsize)))
    together = max(1, BLOCK_BYTES // (rows * width * weight.itemsize))
    blocks = [
        (slice(s, s + together), place, slice(o, o + rows))
        for s in range(0, steps, together)
        for place, o in enumerate(range(0, outputs, rows))
    ]
    squares = np.empty((-(-outputs // rows), steps))
    along_mean, along_shift = np.empty((2, steps, outputs), weight.dtype)

    def work(number: int) -> None:
        of, place, block = blocks[number]
        apart = error[of, block, None] * mean[of, None]
        np.subtract(weight[of, block], apart, out=apart)
        along_mean[of, block] = np.matvec(apart, mean[of])
        along_shift[of, block] = np.matvec(apart, shift[of])
        flat = apart.reshape(len(apart), -1)
        squares[place, of] = np.vecdot(flat, flat)

    run(team, len(blocks), work, of_bytes=weight.nbytes)
    square, along = sum(squares[1:], squares[0]), along_mean.astype(np.float64)
    if (bias := exact.get("bias")) is not None:
        apart = bias - error
        square += np.vecdot(apart, apart)
        along += apart
    return square, along, along_shift.astype(np.float64)
