"""A microbatch's forward and backward pass through a dense network, each one compiled function.

A network is a table of stages (s, 9) of 64-bit integers, by the columns below; a stage is a linear
layer, perhaps with ReLU on top. Places are those of a number in a flat vector: of θ, of the sums
behind the means, and of one example's activations. Symbols as in `layers.base`.
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
COLUMNS = 9
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
    """Write the outputs of every stage to `activations`, flat, and to `means` the sums of z."""
    n, a = len(inputs), inputs
    for s in range(len(stages)):
        stage = stages[s]
        i, o = stage[INPUTS], stage[OUTPUTS]
        z = _rows(activations, n, stage[ACTIVATION], o)
        times_transposed(a, _matrix(parameters, stage[WEIGHT], o, i), z)
        sums = _part(means, stage[MEAN_SUM], o)
        sums[:] = 0
        add_bias(_part(parameters, stage[BIAS], o), stage[RELU] == 1, weights, z, sums)
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
    """From ℓ_n and δ at the outputs: write Σ_n w_n g_n (P,), the other sums and ‖g_n‖ (n,).

    The last `outputs` numbers of `means`, if any, take Σ_n w_n y_n. Returns what `totals_and_norms`
    does.
    """
    n, widest, weighing = len(inputs), 0, False
    for s in range(len(stages)):
        widest = max(widest, stages[s, OUTPUTS])
    for k in range(n):
        weighing = weighing or weights[k] != 1
    spare = np.empty((3, n * widest), parameters.dtype)
    no_bias = np.empty(widest, parameters.dtype)
    active = error[:0]
    for s in range(len(stages) - 1, -1, -1):
        stage = stages[s]
        i, o = stage[INPUTS], stage[OUTPUTS]
        a = inputs if s == 0 else _rows(activations, n, stages[s - 1, ACTIVATION], i)
        weighted = spare[2, : n * o].reshape(n, o) if weighing else error[:0]
        error_sum = no_bias[:o] if stage[BIAS] < 0 else _part(gradient, stage[BIAS], o)
        input_sum = _part(means, stage[MEAN_INPUT], i)
        linear_sums(
            a, active, weights, stage[BIAS] >= 0, error, weighted, norms, error_sum, input_sum
        )
        mean_error = _part(means, stage[MEAN_ERROR], o)
        for k in range(len(mean_error)):  # a loop compiles in seconds less than an assignment
            mean_error[k] = error_sum[k]
        multiplier = weighted if weighing else error
        transposed_times(multiplier, a, _matrix(gradient, stage[WEIGHT], o, i))
        if s > 0:
            below = spare[s % 2, : n * i].reshape(n, i)
            times(error, _matrix(parameters, stage[WEIGHT], o, i), below)
            active = a if stages[s - 1, RELU] == 1 else error[:0]
            error = below
    if len(means):
        target_sum = means[len(means) - targets.shape[1] :]
        target_sum[:] = 0
        for k in range(n):
            for o in range(len(target_sum)):
                target_sum[o] += weights[k] * targets[k, o]
    return totals_and_norms(losses, weights, norms, totals)


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
    n, last = len(inputs), stages[-1]
    activations = np.empty(n * (last[ACTIVATION] + last[OUTPUTS]), parameters.dtype)
    forward(stages, parameters, inputs, weights, activations, means)
    outputs = _rows(activations, n, last[ACTIVATION], last[OUTPUTS])
    error = np.empty_like(outputs)
    softmax_cross_entropy(outputs, targets, losses, error)
    return backward(
        stages, parameters, inputs, weights, activations, targets, losses, error,
        gradient, means, norms, totals,
    )  # fmt: skip


@compiled
def _rows(flat: Array, n: int, place: int, width: int) -> Array:
    """The outputs (n, width) of the stage whose first one of one example is at `place`."""
    return flat[n * place : n * (place + width)].reshape(n, width)


@compiled
def _matrix(flat: Array, place: int, rows: int, columns: int) -> Array:
    return flat[place : place + rows * columns].reshape(rows, columns)


@compiled
def _part(flat: Array, place: int, size: int) -> Array:
    """The numbers at `place`; none if it is absent."""
    return flat[place : place + size] if place >= 0 else flat[:0]
