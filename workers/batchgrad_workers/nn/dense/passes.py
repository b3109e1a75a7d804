"""Microbatches' forward and backward passes through a dense network, each one compiled function.

A network is a table of stages (s, 10) of 64-bit integers, by the columns below; a stage is a linear
layer, perhaps with ReLU on top. Places are those of a number in a flat vector: of θ, of the sums
behind the means, and of one row's activations. Symbols as in `layers.base`.

k microbatches of n examples each go through together. Each has r >= n rows in the inputs, the
activations and the errors: behind its examples rows that only products see.
"""

import numpy as np

from batchgrad_workers.arrays import Array, Floats, Integers
from batchgrad_workers.nn.dense.products import times, times_transposed, transposed_times
from batchgrad_workers.nn.kernels.activations import add_bias
from batchgrad_workers.nn.kernels.gradients import linear_sums, totals_and_norms
from batchgrad_workers.nn.kernels.jit import compiled
from batchgrad_workers.nn.kernels.losses import softmax_cross_entropy

INPUTS, OUTPUTS, RELU = 0, 1, 2
WEIGHT, BIAS = 3, 4
MEAN_INPUT, MEAN_ERROR, MEAN_SUM = 5, 6, 7
ACTIVATION = 8
TOGETHER = 9
"""1 if rows of several microbatches may be multiplied by θ at once."""
COLUMNS = 10
ABSENT = -1
"""The place of a bias or a mean that there is not. MEAN_SUM is for z, the input of ReLU."""


@compiled
def forward(
    stages: Integers,
    parameters: Array,
    inputs: Array,
    weights: Array,
    activations: Array,
    means: Array,
) -> None:
    """Write the outputs of every stage to `activations`, flat, and to `means` the sums of z.

    From inputs (k r, i) and weights (k, n); means are (k, sizes).
    """
    rows, a = len(inputs), inputs
    for s in range(len(stages)):
        stage = stages[s]
        i, o = stage[INPUTS], stage[OUTPUTS]
        z = _rows(activations, rows, stage[ACTIVATION], o)
        at_once = rows if stage[TOGETHER] == 1 else rows // len(weights)
        for start in range(0, rows, at_once):
            end = start + at_once
            times_transposed(a[start:end], _matrix(parameters, stage[WEIGHT], o, i), z[start:end])
        bias = _part(parameters, stage[BIAS], o)
        if len(bias) == 0:
            bias = np.zeros(o, parameters.dtype)
        for k in range(len(weights)):
            sums = _part(means[k], stage[MEAN_SUM], o)
            sums[:] = 0
            add_bias(bias, stage[RELU] == 1, weights[k], _examples(z, weights, k), sums)
        a = z


@compiled
def backward(
    stages: Integers,
    parameters: Array,
    inputs: Array,
    weights: Array,
    activations: Array,
    targets: Array,
    losses: Array,
    error: Array,
    gradient: Array,
    means: Array,
    norms: Floats,
    totals: Floats,
) -> bool:
    """From ℓ_n and δ at the outputs: write Σ w_n g_n (P,), the other sums and ‖g_n‖ (k, n).

    The gradient is that of all microbatches; each has its own row of means (k, sizes) and totals
    (k, 3). The last `outputs` means, if any, take Σ_n w_n y_n. Returns what `totals_and_norms`
    does of all of them.
    """
    rows, widest, weighing = len(inputs), 0, False
    for s in range(len(stages)):
        widest = max(widest, stages[s, OUTPUTS])
    for k in range(len(weights)):
        for n in range(weights.shape[1]):
            weighing = weighing or weights[k, n] != 1
    spare = np.empty((2, rows * widest), parameters.dtype)
    weighted_rows = np.empty(weights.shape[1] * widest if weighing else 0, parameters.dtype)
    error_sum = np.empty(widest, parameters.dtype)
    active = error[:0]
    for s in range(len(stages) - 1, -1, -1):
        stage = stages[s]
        i, o = stage[INPUTS], stage[OUTPUTS]
        a = inputs if s == 0 else _rows(activations, rows, stages[s - 1, ACTIVATION], i)
        for k in range(len(weights)):
            _layer_sums(
                stage, k, _examples(a, weights, k), weights[k],
                _examples(active, weights, k) if len(active) else active,
                _examples(error, weights, k), weighted_rows, error_sum[:o],
                gradient, means[k], norms[k],
            )  # fmt: skip
        if s > 0:
            below = spare[s % 2, : rows * i].reshape(rows, i)
            at_once = rows if stage[TOGETHER] == 1 else rows // len(weights)
            for start in range(0, rows, at_once):
                end = start + at_once
                weight = _matrix(parameters, stage[WEIGHT], o, i)
                times(error[start:end], weight, below[start:end])
            active = a if stages[s - 1, RELU] == 1 else error[:0]
            error = below
    sure = True
    for k in range(len(weights)):
        if means.shape[1]:
            _add_targets(_examples(targets, weights, k), weights[k], means[k])
        sure = totals_and_norms(losses[k], weights[k], norms[k], totals[k]) and sure
    return sure


@compiled
def _layer_sums(
    stage: Integers,
    k: int,
    a: Array,
    weights: Array,
    active: Array,
    error: Array,
    weighted_rows: Array,
    error_sum: Array,
    gradient: Array,
    means: Array,
    norms: Floats,
) -> None:
    """Write microbatch k's sums of a layer; add its gradient to that of the microbatches before."""
    (n, i), o = a.shape, error.shape[1]
    weighted = error[:0]
    if len(weighted_rows):
        weighted = weighted_rows[: n * o].reshape(n, o)
    has_bias, mean_input = stage[BIAS] >= 0, _part(means, stage[MEAN_INPUT], i)
    linear_sums(a, active, weights, has_bias, error, weighted, norms, error_sum, mean_input)
    mean_error, bias = _part(means, stage[MEAN_ERROR], o), _part(gradient, stage[BIAS], o)
    for j in range(len(mean_error)):  # a loop compiles in seconds less than an assignment
        mean_error[j] = error_sum[j]
    for j in range(len(bias)):
        bias[j] = error_sum[j] if k == 0 else bias[j] + error_sum[j]
    multiplier = weighted if len(weighted_rows) else error
    transposed_times(multiplier, a, k > 0, _matrix(gradient, stage[WEIGHT], o, i))


@compiled
def classified(
    stages: Integers,
    parameters: Array,
    inputs: Array,
    weights: Array,
    targets: Array,
    losses: Array,
    gradient: Array,
    means: Array,
    norms: Floats,
    totals: Floats,
) -> bool:
    """Both passes, with the losses ℓ_n by softmax cross entropy between them."""
    rows, last = len(inputs), stages[-1]
    activations = np.empty(rows * (last[ACTIVATION] + last[OUTPUTS]), parameters.dtype)
    forward(stages, parameters, inputs, weights, activations, means)
    outputs = _rows(activations, rows, last[ACTIVATION], last[OUTPUTS])
    error = np.zeros_like(outputs)
    for k in range(len(weights)):
        softmax_cross_entropy(
            _examples(outputs, weights, k), _examples(targets, weights, k), losses[k],
            _examples(error, weights, k),
        )  # fmt: skip
    return backward(
        stages, parameters, inputs, weights, activations, targets, losses, error,
        gradient, means, norms, totals,
    )  # fmt: skip


@compiled
def _add_targets(targets: Array, weights: Array, means: Array) -> None:
    """Write Σ_n w_n y_n to the last means."""
    target_sum = means[len(means) - targets.shape[1] :]
    target_sum[:] = 0
    for n in range(len(targets)):
        for o in range(len(target_sum)):
            target_sum[o] += weights[n] * targets[n, o]


@compiled
def _rows(flat: Array, rows: int, place: int, width: int) -> Array:
    """The outputs (rows, width) of the stage whose first one of a row is at `place`."""
    return flat[rows * place : rows * (place + width)].reshape(rows, width)


@compiled
def _examples(rows: Array, weights: Array, k: int) -> Array:
    """The rows of the examples of microbatch k, of rows (k r, width) and weights (k, n)."""
    start = k * (len(rows) // len(weights))
    return rows[start : start + weights.shape[1]]


@compiled
def _matrix(flat: Array, place: int, rows: int, columns: int) -> Array:
    return flat[place : place + rows * columns].reshape(rows, columns)


@compiled
def _part(flat: Array, place: int, size: int) -> Array:
    """The numbers at `place`; none if it is absent."""
    return flat[place : place + size] if place >= 0 else flat[:0]
