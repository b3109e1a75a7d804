"""Compute a worker's shard of a step: from (step, θ, microbatch range) to nodes of the tree."""

from collections.abc import Callable
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
from batchgrad_workers.reduction.sums import GradientSums, add
from batchgrad_workers.reduction.tree import Node, ReductionTree
from batchgrad_workers.runtime.config import WorkerConfig
from batchgrad_workers.runtime.threads import ThreadPool
from batchgrad_workers.trainable import EvaluationSums

Sums = TypeVar("Sums", GradientSums, npt.NDArray[np.float64])


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
        self._pair_rows = self._rows_of_pairs()
        self.reduction = REDUCTIONS[config.sums]
        self._warm_up()

    def _rows_of_pairs(self) -> int:
        """Rows for each of two microbatches that are computed at once; 0: one by one."""
        of = self._config
        if of.private or of.sums != "full" or not self._examples.one_exponent:
            return 0
        return self.model.pair_rows(of.microbatch_size, of.precision) or 0

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
        first, size = int(drawn.bounds[start]), self._config.microbatch_size
        losses = np.empty(int(drawn.bounds[stop]) - first, parameters.dtype)
        norms = np.empty(len(losses))

        def leaf(index: int) -> GradientSums:
            places = drawn.places(index)
            batch = self._batch(step, drawn.ids[places], exponent)
            if step % CHECKED_STEPS == 0 and index == start:
                self.model.check(loaded, batch, step // CHECKED_STEPS)
            sums, own_losses, own_norms = self._differentiate(loaded, batch)
            rows = slice(places.start - first, places.stop - first)
            losses[rows], norms[rows] = own_losses, own_norms
            return self.reduction.leaf(sums)

        def pair(index: int) -> GradientSums:
            places = slice(drawn.places(2 * index).start, drawn.places(2 * index + 1).stop)
            ids = drawn.ids[places].reshape(2, -1)
            padded = np.concatenate([ids, ids[:, : self._pair_rows - size]], axis=1)
            batch = self._batch(step, padded.reshape(-1), exponent)
            sums, own_losses, own_norms = self.model.pair_sums(loaded, batch, size)
            if self._config.drop_nonfinite and not _finite(own_losses, own_norms).all():
                return self.reduction.join(leaf(2 * index), leaf(2 * index + 1))
            rows = slice(places.start - first, places.stop - first)
            losses[rows], norms[rows] = own_losses, own_norms
            return sums

        pairs = self._pairs(drawn, start, stop)
        nodes, seconds = self._reduce(
            range(start, stop), drawn.microbatches, leaf, self.reduction.join, pairs, pair
        )
        return RangeSums(start, stop, nodes, losses, norms, seconds)

    def _pairs(self, drawn: Minibatch, start: int, stop: int) -> range:
        """Which nodes of level 1 are computed at once; threads stay equally busy."""
        if not self._pair_rows:
            return range(0)
        full = len(drawn.ids) // self._config.microbatch_size
        first = ceil(start / 2)
        each = ceil((stop - start) / self.threads) // 2
        return range(first, min(min(stop, full) // 2, first + each * self.threads))

    def evaluation_sums(
        self, parameters: Array, start: int, stop: int
    ) -> RangeSums[EvaluationSums]:
        """Microbatches [start, stop) of the validation examples, forward only."""
        examples, ids = self._evaluated
        size = self._config.microbatch_size
        exponent = examples.exponent(ids)
        loaded = self.model.load(parameters)

        def leaf(index: int) -> EvaluationSums:
            batch = examples.rows(ids[index * size : (index + 1) * size], exponent)
            return self.model.evaluation_sums(loaded, batch)

        total = microbatches(len(ids), size)
        nodes, seconds = self._reduce(range(start, stop), total, leaf, add)
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

        def leaf(index: int) -> GradientSums:
            places = drawn.places(index)
            ids = drawn.ids[places]
            if not len(ids):
                none = np.empty(0, self._config.precision)
                empty = np.zeros(self.layout.size, self._config.precision)
                return GradientSums(empty, np.zeros(3), none, none)
            rows = PrivateRows(self._examples.weights(ids), drawn.starts_in(places))
            return self.model.clipped_sums(loaded, self._batch(step, ids, None), rows, rule)

        nodes, seconds = self._reduce(
            range(start, stop), drawn.microbatches, leaf, GradientSums.join
        )
        none = np.empty(0, self._config.precision)
        return RangeSums(start, stop, nodes, none, np.empty(0), seconds)

    def _batch(self, step: int, ids: Integers, exponent: int | None) -> Any:
        batch = self._examples.rows(ids, exponent)
        if self.model.draws:
            return batch._replace(keys=self._sampler.keys(step, ids))
        return batch

    def close(self) -> None:
        """End the threads."""
        self._pool.close()

    def _warm_up(self) -> None:
        """Compute one example, so that loops are loaded or compiled before the first step."""
        loaded = self.model.load(np.zeros(self.layout.size, self._config.precision))
        with np.errstate(all="ignore"):
            ids = self._sampler.training[:1]
            first = self._examples.rows(ids)._replace(keys=self._sampler.keys(0, ids))
            if self._config.private is None:
                self.model.gradient_sums(loaded, first)
            else:
                rule = ClippingRule(self._config.private.clipping, 1.0)
                rows = PrivateRows(self._examples.weights(ids))
                self.model.clipped_sums(loaded, first, rows, rule)

    def _reduce(
        self,
        leaves: range,
        total: int,
        leaf: Callable[[int], Sums],
        join: Callable[[Sums, Sums], Sums],
        pairs: range = range(0),
        pair: Callable[[int], Sums] | None = None,
    ) -> tuple[list[Node[Sums]], float]:
        """Reduce the leaves, and the `pairs` of them (nodes of level 1) that `pair` computes."""
        started = perf_counter()
        tree: ReductionTree[Sums] = ReductionTree(total, join)
        nodes = [(1, index) for index in pairs]
        nodes += [(0, index) for index in leaves if index // 2 not in pairs]

        def work(node: tuple[int, int]) -> None:
            level, index = node
            tree.add(level, index, pair(index) if level and pair else leaf(index))

        self._pool.run(nodes, work)
        return tree.nodes(), perf_counter() - started

    def _differentiate(self, loaded: Any, batch: Any) -> tuple[GradientSums, Array, Floats]:
        """Sums of one microbatch; with `drop_nonfinite`, without the examples that overflow.

        The returned losses or norms of these examples are not finite, which tells the
        coordinator that they were dropped.
        """
        sums, losses, norms = self.model.gradient_sums(loaded, batch)
        if not self._config.drop_nonfinite:
            return sums, losses, norms
        finite = _finite(losses, norms)
        if finite.all():
            return sums, losses, norms
        sums, _, _ = self.model.gradient_sums(loaded, self.model.without(batch, finite))
        return sums, losses, norms


def _finite(losses: Array, norms: Floats) -> npt.NDArray[np.bool_]:
    return np.isfinite(losses) & np.isfinite(norms)
