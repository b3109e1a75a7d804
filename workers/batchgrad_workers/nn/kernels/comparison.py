"""Norms and inner products of G against rank-one gradients v = δ aᵀ, without forming v.

Each v has a place k: 0 is F, the frozen gradient, of the exact mean input and error; 1 and 2 are
the shortcuts. s step · i input · o output, a row of the weight · m numbers of G in such a row.
"""

import numpy as np

from batchgrad_workers.arrays import Array, Floats
from batchgrad_workers.nn.kernels.jit import kernel
from batchgrad_workers.nn.kernels.norms import RUN

EXACT, DIFFERENCE, PROPAGATION, INNER, OWN = range(5)
"""Rows of what these loops find, (5, k): ‖G‖², ‖G - v‖², ‖F - v‖², ⟨G, v⟩ and ‖v‖²."""


def _products(exact: Array, v: Array) -> Floats:
    """(5, k) of numbers of G (m,) and the same numbers of each v (k, m)."""
    return np.array(
        [
            [np.square(exact).sum() for _ in v],
            np.square(exact - v).sum(axis=1),
            np.square(v[0] - v).sum(axis=1),
            v @ exact,
            np.square(v).sum(axis=1),
        ]
    )


def _run_products(exact: Array, factors: Array, own: Array, start: int, found: Floats) -> Floats:
    run = own[:, start : start + len(exact)]
    products = _products(exact, factors[:, None] * run)
    products[INNER], products[OWN] = run @ exact, 0
    return found + products


@kernel(
    "exact (m), start, factors (3), own (3, m), shifts (3, m) -> found (5, 3)",
    _run_products,
    where={"start": lambda: 0, "shifts": lambda own: own[0] - own},
)
def add_run(
    exact: Array, start: int, factors: Array, own: Array, shifts: Array, found: Floats
) -> None:
    """Add what needs all of G's numbers, ⟨G, a⟩ for ⟨G, v⟩. F - v = (f̄ - f) ā + f (ā - a)."""
    stop = start + len(exact)
    mean, error_mean, example = own[0][start:stop], own[1][start:stop], own[2][start:stop]
    shift_1, shift_2 = shifts[1][start:stop], shifts[2][start:stop]
    f, f_1, f_2 = factors[0], factors[1], factors[2]
    square = difference = difference_1 = difference_2 = exact.dtype.type(0)
    lost_1 = lost_2 = inner = inner_1 = inner_2 = square
    for i in range(len(exact)):
        square += exact[i] * exact[i]
        inner += exact[i] * mean[i]
        inner_1 += exact[i] * error_mean[i]
        inner_2 += exact[i] * example[i]
        apart = exact[i] - f * mean[i]
        difference += apart * apart
        apart = exact[i] - f_1 * error_mean[i]
        difference_1 += apart * apart
        apart = exact[i] - f_2 * example[i]
        difference_2 += apart * apart
        apart = (f - f_1) * mean[i] + f_1 * shift_1[i]
        lost_1 += apart * apart
        apart = (f - f_2) * mean[i] + f_2 * shift_2[i]
        lost_2 += apart * apart
    found[DIFFERENCE, 0] += difference
    found[DIFFERENCE, 1] += difference_1
    found[DIFFERENCE, 2] += difference_2
    found[PROPAGATION, 1] += lost_1
    found[PROPAGATION, 2] += lost_2
    found[INNER, 0] += inner
    found[INNER, 1] += inner_1
    found[INNER, 2] += inner_2
    for place in range(3):
        found[EXACT, place] += square


@kernel(
    "exact (m), factors (3), own (3, m), shifts (3, m), lengths (3) -> found (5, 3)",
    lambda exact, factors, own: _products(exact, factors[:, None] * own),
    where={
        "shifts": lambda own: own[0] - own,
        "lengths": lambda own: np.linalg.norm(own, axis=1),
    },
)
def row_products(
    exact: Array, factors: Array, own: Array, shifts: Array, lengths: Floats, found: Floats
) -> None:
    """Write (5, 3) of numbers of G against v = f a, of factors f (3,) and vectors a (3, m)."""
    found[:] = 0
    for start in range(0, len(exact), RUN):
        add_run(exact[start : start + RUN], start, factors, own, shifts, found)
    for place in range(3):
        factor = np.float64(factors[place])
        found[INNER, place] *= factor
        found[OWN, place] = (factor * lengths[place]) ** 2


def _rank_one(exact: Array, inputs: Array, errors: Array) -> Floats:
    """(s, o + 1, 5, 3): of each row δ_o aᵀ of the weight, then of the bias's gradient δ."""
    steps, outputs = len(exact), errors.shape[2]
    weights = np.split(exact[:, :-outputs], outputs, axis=1)
    by_row = [
        [_products(weights[o][s], errors[s, :, o, None] * inputs[s]) for o in range(outputs)]
        + [_products(exact[s, -outputs:], errors[s])]
        for s in range(steps)
    ]
    return np.array(by_row)


@kernel(
    "exact (s, o*i+o), start, inputs (s, 3, i), input_shifts (s, 3, i), input_lengths (s, 3),"
    " errors (s, 3, o), error_shifts (s, 3, o), error_lengths (s, 3), first, last"
    " -> rows (s, o+1, 5, 3)",
    _rank_one,
    where={
        "start": lambda: 0,
        "input_shifts": lambda inputs: inputs[:, :1] - inputs,
        "input_lengths": lambda inputs: np.linalg.norm(inputs, axis=2),
        "error_shifts": lambda errors: errors[:, :1] - errors,
        "error_lengths": lambda errors: np.linalg.norm(errors, axis=2),
        "first": lambda: 0,
        "last": lambda errors: errors.shape[0] * (errors.shape[2] + 1),
    },
)
def rank_one_products(
    exact: Array,
    start: int,
    inputs: Array,
    input_shifts: Array,
    input_lengths: Floats,
    errors: Array,
    error_shifts: Array,
    error_lengths: Floats,
    first: int,
    last: int,
    rows: Floats,
) -> None:
    """Write rows `first` to `last`, counted over all steps; the layer begins at `start` in G."""
    width, outputs = inputs.shape[2], errors.shape[2]
    factors = np.ones(3, exact.dtype)
    for row in range(first, last):
        s, o = divmod(row, rows.shape[1])
        begin, out = start + o * width, rows[s, o]
        if o < outputs:
            for place in range(3):
                factors[place] = errors[s, place, o]
            part = exact[s, begin : begin + width]
            row_products(part, factors, inputs[s], input_shifts[s], input_lengths[s], out)
        else:
            for place in range(3):
                factors[place] = 1
            part = exact[s, begin : begin + outputs]
            row_products(part, factors, errors[s], error_shifts[s], error_lengths[s], out)
