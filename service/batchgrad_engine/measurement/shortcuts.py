"""Shortcut gradients (average first, then differentiate), as pairs of a layer's input and error.

Each is one example's gradient in every layer, vjp(a, δ), so it is kept as the pair (a, δ) and
formed only where necessary. Symbols as in `batched_over_steps`.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from batchgrad.contract import SHORTCUT_NAMES, JobSpec, ShortcutName
from batchgrad_engine.measurement import batched_over_steps
from batchgrad_workers.arrays import Array
from batchgrad_workers.nn.gradients import loss_and_error
from batchgrad_workers.nn.layers import Parameters
from batchgrad_workers.nn.losses import Loss
from batchgrad_workers.nn.means import Means
from batchgrad_workers.nn.network import Network

FROZEN, AVERAGED_ERROR, MEAN_EXAMPLE = 0, 1, 2
"""Indices into `Rows`: the (a, δ) of F_l, averaged_error and mean_example."""

PLACES: dict[ShortcutName, int] = {"averaged_error": AVERAGED_ERROR, "mean_example": MEAN_EXAMPLE}

Rows = dict[int, tuple[Array, Array]]
"""For each layer with parameters its inputs (s, 3, …) and errors (s, 3, …), by place."""


class Shortcuts:
    """Shortcut gradients of one network and loss."""

    def __init__(self, network: Network, loss: Loss) -> None:
        self._network = network
        self._loss = loss

    def rows(self, parameters: Array, means: Means) -> Rows:
        """Run one forward and one backward pass of two mean examples, at each θ (s, P).

        averaged_error: the mean output error, each layer at its exact mean input. mean_example:
        the ordinary passes of the one example (mean input, mean target).
        """
        layers, views = self._network.layers, batched_over_steps.views(self._network, parameters)
        example = means.inputs[0]
        inputs, outputs = [], []
        for k, (own, mean) in enumerate(zip(views, means.inputs, strict=True)):
            inputs.append(np.concatenate([mean, example], axis=1))
            outputs.append(batched_over_steps.forward(layers[k], own, inputs[-1]))
            if k in self._network.skips:
                outputs[-1] = outputs[-1] + inputs[self._network.skips[k]]
            example = outputs[-1][:, 1:]
        steps = len(example)
        _, error = loss_and_error(
            self._loss,
            example.reshape(steps, *example.shape[2:]),
            means.targets.reshape(steps, -1),
        )
        errors = np.concatenate([means.errors[len(layers) - 1], error[:, None]], axis=1)
        found: Rows = {}
        skipped: dict[int, Array] = {}
        lowest = min(self._network.learning, default=len(layers))
        for index in range(len(layers) - 1, lowest - 1, -1):
            if index in self._network.learning:
                found[index] = (
                    np.concatenate([means.inputs[index], inputs[index]], axis=1),
                    np.concatenate([means.errors[index], errors], axis=1),
                )
            if index > lowest:
                vjp = partial(
                    batched_over_steps.backward,
                    layers[index],
                    views[index],
                    inputs[index],
                    outputs[index],
                )
                errors = self._network.backward(index, errors, skipped, vjp)
        return found

    def gradient(self, rows: Rows, place: int) -> Array:
        """The gradient (P,) of one of `rows`, which are of one step."""
        dtype = next(iter(rows.values()))[1].dtype if rows else np.float64
        gradient, one = np.empty(self._network.size, dtype), np.ones(1, dtype)
        out = self._network.views(gradient)
        for index, (inputs, errors) in rows.items():
            self._network.layers[index].gradient_sums(
                inputs[0, place : place + 1], errors[0, place : place + 1], one, out[index]
            )
        return gradient

    def from_depth(
        self, views: Sequence[Parameters], means: Means, exact: Array, layer: int
    ) -> Array:
        """The gradient (P,) when averaging starts at `layer`'s output: exact above it.

        Inside of a residual block, what passes the block by is averaged as well.
        `views` and `means` are one step's, without the axis of steps.
        """
        gradient = exact.copy()
        out = self._network.views(gradient)
        error, one = means.errors[layer], np.ones(1, exact.dtype)
        skipped: dict[int, Array] = {}
        for end, begin in self._network.skips.items():
            if begin <= layer < end:
                skipped[begin] = means.errors[end] + skipped.get(begin, 0)
        for index in range(layer, -1, -1):
            below, mean = self._network.layers[index], means.inputs[index]
            if out[index]:
                below.gradient_sums(mean, error, one, out[index])
            if index:
                outputs = below.forward(views[index], mean)
                vjp = partial(below.backward, views[index], mean, outputs)
                error = self._network.backward(index, error, skipped, vjp)
        return gradient


def wanted_shortcuts(
    spec: JobSpec, *, weighted: bool, available: Sequence[ShortcutName] = SHORTCUT_NAMES
) -> tuple[ShortcutName, ...]:
    """The shortcuts to measure: those in the spec, or by default those that can differ here.

    `available` are those that the model has.
    """
    wanted: tuple[ShortcutName, ...] = ("averaged_error", "mean_example")
    if spec.shortcuts is not None:
        wanted = tuple(dict.fromkeys(spec.shortcuts))
    elif weighted or spec.class_weights is not None or spec.update == "mean_of_means":
        wanted = ("averaged_error", "mean_example", "mean_of_means")
    return tuple(name for name in wanted if name in available)


def needed_shortcuts(
    spec: JobSpec, *, weighted: bool, available: Sequence[ShortcutName] = SHORTCUT_NAMES
) -> tuple[ShortcutName, ...]:
    """The shortcuts whose sums workers return: those measured, and the one that updates θ."""
    wanted = wanted_shortcuts(spec, weighted=weighted, available=available)
    return (
        wanted if spec.update == "mean_gradient" else tuple(dict.fromkeys([*wanted, spec.update]))
    )
