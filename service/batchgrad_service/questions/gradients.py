"""Answer POST /v1/gradients: one minibatch's exact mean gradient, and each shortcut beside it."""

from collections.abc import Mapping
from math import isfinite, ldexp
from typing import Any

import numpy as np
import numpy.typing as npt

from batchgrad.contract import (
    DEFAULT_MICROBATCH,
    Depth,
    GradientShortcut,
    GradientsRequest,
    GradientsResponse,
    NoiseScale,
    ShortcutLayer,
)
from batchgrad_engine.measurement.comparison import agreement, compare
from batchgrad_engine.measurement.shortcuts import PLACES, Shortcuts
from batchgrad_engine.measurement.statistics import noise_scale
from batchgrad_engine.step_columns import row_at
from batchgrad_service.problems import InvalidError
from batchgrad_service.questions.gradient_inputs import read_request
from batchgrad_workers.arrays import Array, Floats, Integers
from batchgrad_workers.data.example_weights import scaled
from batchgrad_workers.nn.gradients import Differentiator, Microbatch
from batchgrad_workers.nn.kernels.norms import norm
from batchgrad_workers.nn.losses import LOSSES
from batchgrad_workers.nn.means import Means, MeansLayout
from batchgrad_workers.nn.network import Network
from batchgrad_workers.reduction.sums import LOSS, WEIGHING, WEIGHT, GradientSums
from batchgrad_workers.reduction.tree import ReductionTree
from batchgrad_workers.runtime.threads import ThreadPool


def answer(request: GradientsRequest) -> GradientsResponse:
    """Return the exact mean gradient of the minibatch, and every shortcut's gradient.

    Raises:
        InvalidError: a field does not fit; the error names it, its value and the remedy.
    """
    network, batch, parameters = read_request(request)
    loss = LOSSES[request.loss]
    layout = MeansLayout(network)
    differentiator = Differentiator(network, loss, layout, with_microbatch_means=True)
    views = network.views(parameters)
    with np.errstate(all="ignore"):
        sums, losses, norms = _sums(differentiator, parameters, batch, request.microbatch_size)
    positive = batch.weights > 0
    _refuse_overflow(losses, norms, positive)

    weight = float(sums.totals[WEIGHT])
    _refuse_heavy(sums)
    exact = sums.gradient / sums.gradient.dtype.type(weight)
    means = layout.means(sums.means, weight)
    shortcuts = Shortcuts(network, loss)
    with np.errstate(all="ignore"), ThreadPool(1) as pool:
        rows = shortcuts.rows(parameters[None], layout.means(sums.means[None], weight))
        compared = compare(network, exact[None], rows, pool)
    of_means = sums.microbatch_means / exact.dtype.type(sums.totals[WEIGHING])
    noise = noise_scale(norms[positive], batch.weights[positive], norm(exact))
    return GradientsResponse(
        loss=float(sums.totals[LOSS]) / weight,
        examples=len(losses),
        mean_gradient=_lists(network, exact),
        norms=[_defined(value) for value in norms.tolist()],
        per_example=_per_example(differentiator, views, batch) if request.per_example else None,
        shortcuts={
            **{
                name: _shortcut(network, shortcuts.gradient(rows, place), row_at(compared[name], 0))
                for name, place in PLACES.items()
            },
            "mean_of_means": _shortcut(
                network, of_means, {**agreement(exact, of_means), "layers": None}
            ),
        },
        depths=_depths(network, shortcuts, parameters, means, exact),
        noise_scale=NoiseScale(trace=noise.trace, signal=noise.signal, simple=noise.simple),
    )


def _sums(
    differentiator: Differentiator, parameters: Array, batch: Microbatch, size: int | None
) -> tuple[GradientSums, Array, Floats]:
    """Sum over the whole minibatch in the canonical tree, as a job's workers do.

    Rows of weight 0 are left out of their microbatches; their losses and norms are computed too.
    """
    examples = len(batch.inputs)
    size = min(examples, size or DEFAULT_MICROBATCH)
    views = differentiator.network.views(parameters)
    losses, norms = np.empty(examples, parameters.dtype), np.empty(examples)

    def part(rows: Integers) -> GradientSums:
        weights, exponent = scaled(batch.weights[rows].astype(np.float64))
        of = Microbatch(
            batch.inputs[rows],
            batch.targets[rows],
            weights.astype(parameters.dtype),
            ldexp(1.0, exponent),
        )
        sums, losses[rows], norms[rows] = differentiator.sums(views, of)
        return sums

    slices = np.split(np.arange(examples), range(size, examples, size))
    weighing = [rows[batch.weights[rows] > 0] for rows in slices]
    weighing = [rows for rows in weighing if len(rows)]
    tree: ReductionTree[GradientSums] = ReductionTree(len(weighing), GradientSums.join)
    for index, rows in enumerate(weighing):
        tree.add(0, index, part(rows))
    for rows in slices:
        if not batch.weights[rows].all():
            part(rows[batch.weights[rows] == 0])
    return tree.root(), losses, norms


def _refuse_overflow(losses: Array, norms: Floats, positive: npt.NDArray[np.bool_]) -> None:
    bad = np.flatnonzero(positive & ~(np.isfinite(losses) & np.isfinite(norms)))
    if len(bad):
        first = [int(example) for example in bad[:5]]
        raise InvalidError.field(
            f"/inputs/{first[0]}",
            f"Loss or gradient is not finite for examples {first}"
            f"{' and others' if len(bad) > 5 else ''}: scale inputs or parameters down, or use "
            "precision: float64.",
        )


def _refuse_heavy(sums: GradientSums) -> None:
    """Refuse sums that are not finite, although every example is."""
    if not isfinite(sums.totals[LOSS]) or not np.isfinite(sums.gradient).all():
        raise InvalidError.field(
            "/inputs",
            "Every example's gradient is finite, but their weighted sum is not: scale inputs or "
            "parameters down, or use precision: float64.",
        )


def _depths(
    network: Network, shortcuts: Shortcuts, parameters: Array, means: Means, exact: Array
) -> list[Depth]:
    views = network.views(parameters)
    return [
        Depth(
            name=network.names[layer],
            relative_error=_defined(
                agreement(exact, shortcuts.from_depth(views, means, exact, layer))["relative_error"]
            ),
        )
        for layer in network.learning
    ]


def _per_example(
    differentiator: Differentiator, views: Any, batch: Microbatch
) -> list[dict[str, list[Any]]]:
    each = differentiator.each(views, batch)
    return [
        {name: gradients[example].tolist() for name, gradients in each.items()}
        for example in range(len(batch.inputs))
    ]


def _shortcut(network: Network, gradient: Array, comparison: Mapping[str, Any]) -> GradientShortcut:
    layers = comparison["layers"]
    return GradientShortcut(
        gradient=_lists(network, gradient),
        relative_error=_defined(comparison["relative_error"]),
        cosine_similarity=_defined(comparison["cosine_similarity"]),
        norm_ratio=_defined(comparison["norm_ratio"]),
        layers=None
        if layers is None
        else [
            ShortcutLayer(
                name=gap["name"],
                relative_error=_defined(gap["relative_error"]),
                covariance_norm=_defined(gap["covariance_norm"]),
                propagation_norm=_defined(gap["propagation_norm"]),
            )
            for gap in layers
        ],
    )


def _defined(figure: float) -> float | None:
    return figure if isfinite(figure) else None


def _lists(network: Network, flat: Array) -> dict[str, list[Any]]:
    return {name: array.tolist() for name, array in network.named(flat).items()}
