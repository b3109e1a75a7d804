"""Compute a worker's shard of a step: from (step, θ, microbatch range) to nodes of the tree."""

from collections.abc import Callable, Sequence
from functools import cached_property
from math import ceil
from time import perf_counter
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from batchgrad_workers.arrays import Array, Floats, Integers
from batchgrad_workers.data.sampler import Minibatch
from batchgrad_workers.data.source import open_dataset
from batchgrad_workers.parameters import ParameterLayout
from batchgrad_workers.reduction.clipping import ClippingRule, PrivateRows
from batchgrad_workers.reduction.rounding import REDUCTIONS
from batchgrad_workers.reduction.sharding import leaves, pairs_first
from batchgrad_workers.reduction.sums import GradientSums, add
from batchgrad_workers.reduction.tree import Node, ReductionTree
from batchgrad_workers.runtime.config import WorkerConfig
from batchgrad_workers.runtime.threads import ThreadPool
from batchgrad_workers.trainable import EvaluationSums

Sums = TypeVar("Sums", GradientSums, npt.NDArray[np.float64])


Place = tuple[int, int]
"""Level and index of a node in the canonical tree."""

CHECKED_STEPS = 256
"""Every so many steps, a worker checks a microbatch for what is assumed of the model."""


class RangeSums(NamedTuple, Generic[Sums]):
    """Microbatches [start, stop) of a step, reduced to the maximal nodes of the canonical tree.

    `losses` and `norms` (n,) are per example, in the minibatch's order; empty after an
    evaluation. `seconds` is the computing time.
    """

    start: int
    stop: int
    nodes: list[Node[Sums]]
    losses: Array
    norms: Floats
    seconds: float


def microbatches(examples: int, microbatch_size: int) -> int:
    """M, the number of microbatches of `examples` examples; the last one may be shorter."""
    return ceil(examples / microbatch_size)


class ShardRunner:
    """Computes microbatch ranges of any step, in threads, from the dataset on this node."""

    def __init__(self, config: WorkerConfig, threads: int) -> None:
        """Map the dataset and bind the network."""
        self._config = config
        dataset = open_dataset(config.dataset)
        self.model = config.trainable(dataset)
        self._examples = config.examples(dataset, self.model)
        self._sampler = config.sampler(dataset, self._examples.present)
        self._evaluated = config.evaluation_set(self._examples, self._sampler, self.model)
        self._pool = ThreadPool(threads)
        self.reduction = REDUCTIONS[config.sums]
        self._warm_up()

    @property
    def layout(self) -> ParameterLayout:
        """The layout of θ."""
        return self.model.layout

    @property
    def threads(self) -> int:
        """Number of threads that compute a range."""
        return self._pool.threads

    def use_threads(self, threads: int) -> None:
        """Change the number of threads; the bits stay the same."""
        self._pool.close()
        self._pool = ThreadPool(threads)

    def gradient_sums(
        self,
        step: int,
        parameters: Array,
        start: int,
        stop: int,
        clip_norm: float | None = None,
    ) -> RangeSums[GradientSums]:
        """Microbatches [start, stop) of step number `step`, at θ = `parameters` (P,).

        `clip_norm` is C of a private job, whose sums are clipped: losses and norms stay here.
        """
        drawn = self._sampler.draw(step, self._config.microbatch_size)
        loaded = self.model.load(parameters)
        if self._config.private is not None:
            return self._clipped(step, loaded, drawn, start, stop, clip_norm)
        exponent = self._examples.exponent(drawn.ids)
        first = int(drawn.bounds[start])
        losses = np.empty(int(drawn.bounds[stop]) - first, parameters.dtype)
        norms = np.empty(len(losses))

        def compute(node: Place) -> GradientSums:
            level, index = node
            places = drawn.places(index << level, (index + 1) << level)
            ids, count = drawn.ids[places], 1 << level
            padding = self.model.padding(len(ids) // count)
            batch = self._batch(step, ids.reshape(count, -1) if level else ids, exponent, padding)
            if step % CHECKED_STEPS == 0 and node == (0, start):
                self.model.check(loaded, batch, step // CHECKED_STEPS)
            sums, own_losses, own_norms = self.model.gradient_sums(loaded, batch, count)
            if self._config.drop_nonfinite and not _all_finite(own_losses, own_norms):
                if level:
                    return self.reduction.join(*(compute((0, 2 * index + k)) for k in range(2)))
                sums = self._without_nonfinite(loaded, batch, own_losses, own_norms)
            rows = slice(places.start - first, places.stop - first)
            losses[rows], norms[rows] = own_losses, own_norms
            return self.reduction.leaf(sums)

        nodes, seconds = self._reduce(
            self._nodes(drawn, start, stop), drawn.microbatches, compute, self.reduction.join
        )
        return RangeSums(start, stop, nodes, losses, norms, seconds)

    def _without_nonfinite(
        self, loaded: Any, batch: Any, losses: Array, norms: Floats
    ) -> GradientSums:
        """Sums without the examples whose loss or norm is not finite.

        These figures themselves stay: they tell the coordinator what was dropped.
        """
        finite = np.isfinite(losses) & np.isfinite(norms)
        return self.model.gradient_sums(loaded, self.model.without(batch, finite))[0]

    def _nodes(self, drawn: Minibatch, start: int, stop: int) -> list[Place]:
        """The nodes that are computed at once."""
        full = len(drawn.ids) // self._config.microbatch_size
        nodes = pairs_first(start, stop, full, self.threads)
        paired = any(level for level, _ in nodes) and self._takes_pairs
        return nodes if paired else leaves(start, stop)

    @cached_property
    def _takes_pairs(self) -> bool:
        of = self._config
        if of.private or of.sums != "full" or not self._examples.one_exponent:
            return False
        return self.model.takes_pairs(of.microbatch_size, of.precision)

    def evaluation_sums(
        self, parameters: Array, start: int, stop: int
    ) -> RangeSums[EvaluationSums]:
        """Microbatches [start, stop) of the validation examples, forward only."""
        examples, ids = self._evaluated
        size = self._config.microbatch_size
        exponent = examples.exponent(ids)
        loaded = self.model.load(parameters)

        def compute(node: Place) -> EvaluationSums:
            _, index = node
            batch = examples.rows(ids[index * size : (index + 1) * size], exponent)
            return self.model.evaluation_sums(loaded, batch)

        total = microbatches(len(ids), size)
        nodes, seconds = self._reduce(leaves(start, stop), total, compute, add)
        none = np.empty(0, parameters.dtype)
        return RangeSums(start, stop, nodes, none, np.empty(0), seconds)

    def _clipped(
        self,
        step: int,
        loaded: Any,
        drawn: Minibatch,
        start: int,
        stop: int,
        clip_norm: float | None,
    ) -> RangeSums[GradientSums]:
        private = self._config.private
        if private is None or clip_norm is None:
            raise ValueError("a private step needs a clip norm")
        rule = ClippingRule(private.clipping, clip_norm, private.loss_bound)

        def compute(node: Place) -> GradientSums:
            _, index = node
            places = drawn.places(index, index + 1)
            ids = drawn.ids[places]
            if not len(ids):
                none = np.empty(0, self._config.precision)
                empty = np.zeros(self.layout.size, self._config.precision)
                return GradientSums(empty, np.zeros(3), none, none)
            rows = PrivateRows(self._examples.weights(ids), drawn.starts_in(places))
            return self.model.clipped_sums(loaded, self._batch(step, ids, None), rows, rule)

        nodes, seconds = self._reduce(
            leaves(start, stop), drawn.microbatches, compute, GradientSums.join
        )
        none = np.empty(0, self._config.precision)
        return RangeSums(start, stop, nodes, none, np.empty(0), seconds)

    def _batch(self, step: int, ids: Integers, exponent: int | None, padding: int = 0) -> Any:
        batch = self._examples.rows(ids, exponent, padding)
        if self.model.draws:
            return batch._replace(keys=self._sampler.keys(step, ids.reshape(-1)))
        return batch

    def close(self) -> None:
        """End the threads."""
        self._pool.close()

    def _warm_up(self) -> None:
        """Compute two examples, so that loops are loaded or compiled before the first step."""
        loaded = self.model.load(np.zeros(self.layout.size, self._config.precision))
        with np.errstate(all="ignore"):
            ids = self._sampler.training[:2]
            first = self._examples.rows(ids)._replace(keys=self._sampler.keys(0, ids))
            if self._config.private is None:
                self.model.gradient_sums(loaded, first)
                if self._sampler.microbatches(self._config.microbatch_size) > self.threads:
                    _ = self._takes_pairs  # it tries products
            else:
                rule = ClippingRule(self._config.private.clipping, 1.0)
                rows = PrivateRows(self._examples.weights(ids))
                self.model.clipped_sums(loaded, first, rows, rule)

    def _reduce(
        self,
        nodes: Sequence[Place],
        total: int,
        compute: Callable[[Place], Sums],
        join: Callable[[Sums, Sums], Sums],
    ) -> tuple[list[Node[Sums]], float]:
        """Compute these nodes of the tree over `total` microbatches, and join them."""
        started = perf_counter()
        tree: ReductionTree[Sums] = ReductionTree(total, join)
        self._pool.run(nodes, lambda node: tree.add(*node, compute(node)))
        return tree.nodes(), perf_counter() - started


def _all_finite(losses: Array, norms: Floats) -> bool:
    return bool(np.isfinite(losses).all() and np.isfinite(norms).all())
