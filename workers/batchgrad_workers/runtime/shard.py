"""Compute a worker's shard of a step: from (step, θ, microbatch range) to nodes of the tree."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from time import perf_counter
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from batchgrad.contract import Loss as LossName
from batchgrad.contract import Model, Precision, ShortcutName, Validation
from batchgrad_workers.arrays import Array, Floats
from batchgrad_workers.data.dataset import EvaluationSet, Examples, StoredDataset
from batchgrad_workers.data.input_transform import InputTransform
from batchgrad_workers.data.sampler import Sampler
from batchgrad_workers.data.source import DatasetSource, open_dataset
from batchgrad_workers.data.split import split
from batchgrad_workers.data.tables.encoding import TableEncoding
from batchgrad_workers.nn.gradients import (
    Differentiator,
    GradientSums,
    Microbatch,
    add,
    loss_and_error,
)
from batchgrad_workers.nn.layers import Parameters
from batchgrad_workers.nn.losses import LOSSES
from batchgrad_workers.nn.means import MeansLayout
from batchgrad_workers.nn.network import Network
from batchgrad_workers.reduction.tree import Node, ReductionTree
from batchgrad_workers.runtime.threads import ThreadPool

Sums = TypeVar("Sums", GradientSums, npt.NDArray[np.float64])
EvaluationSums = npt.NDArray[np.float64]
"""(4,): Σ w_n ℓ_n, Σ w_n (of the scaled weights), right answers, examples.

A loss whose targets are numbers adds (outputs,): Σ w_n (f_n - y_n)² of each output.
"""


@dataclass(frozen=True)
class WorkerConfig:
    """What a worker needs to know of a job; sent once."""

    model: Model
    loss: LossName
    precision: Precision
    dataset: DatasetSource
    seed: int
    validation: Validation | None
    validation_dataset: DatasetSource | None
    batch_size: int
    microbatch_size: int
    class_weights: Array | None
    transform: InputTransform | None
    shortcuts: tuple[ShortcutName, ...]
    drop_nonfinite: bool
    label_smoothing: float = 0.0

    def examples(self, dataset: StoredDataset, network: Network) -> Examples:
        """The rows of a dataset as the job's network takes them."""
        return Examples(
            dataset,
            network=network,
            loss=LOSSES[self.loss],
            dtype=self.precision,
            transform=self.transform,
            class_weights=self.class_weights,
            label_smoothing=self.label_smoothing,
        )

    def evaluation_set(self, examples: Examples, sampler: Sampler) -> EvaluationSet:
        """The validation rows of the job's own `examples`, or all of its other dataset's."""
        if self.validation_dataset is None:
            return EvaluationSet(examples, sampler.validation)
        other = open_dataset(self.validation_dataset).renumbered(examples.class_names)
        config = self
        if isinstance(self.transform, TableEncoding) and other.table is not None:
            config = replace(self, transform=self.transform.compiled(other.table))
        return config.examples(other, examples.network).all_present()


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


def wants_means(shortcuts: Sequence[ShortcutName]) -> bool:
    """True if a shortcut needs mean inputs and errors; mean_of_means does not."""
    return any(name != "mean_of_means" for name in shortcuts)


def microbatches(examples: int, microbatch_size: int) -> int:
    """M, the number of microbatches of `examples` examples; the last one may be shorter."""
    return ceil(examples / microbatch_size)


class ShardRunner:
    """Computes microbatch ranges of any step, in threads, from the dataset on this node."""

    def __init__(self, config: WorkerConfig, threads: int) -> None:
        """Map the dataset and bind the network."""
        self._config = config
        dataset = open_dataset(config.dataset)
        self.network = Network(config.model, dataset.input_shape)
        loss = LOSSES[config.loss]
        self._differentiator = Differentiator(
            self.network,
            loss,
            MeansLayout(self.network) if wants_means(config.shortcuts) else None,
            "mean_of_means" in config.shortcuts,
        )
        self._examples = config.examples(dataset, self.network)
        self._sampler = Sampler(
            split(config.validation, dataset, seed=config.seed, present=self._examples.present),
            seed=config.seed,
            batch_size=config.batch_size,
        )
        self._evaluated = config.evaluation_set(self._examples, self._sampler)
        self._pool = ThreadPool(threads)
        self._warm_up()

    @property
    def threads(self) -> int:
        """Number of threads that compute a range."""
        return self._pool.threads

    def use_threads(self, threads: int) -> None:
        """Change the number of threads; the bits stay the same."""
        self._pool.close()
        self._pool = ThreadPool(threads)

    def gradient_sums(
        self, step: int, parameters: Array, start: int, stop: int
    ) -> RangeSums[GradientSums]:
        """Microbatches [start, stop) of step number `step`, at θ = `parameters` (P,)."""
        ids = self._sampler.minibatch(step)
        size = self._config.microbatch_size
        exponent = self._examples.exponent(ids)
        losses = np.empty(min(stop * size, len(ids)) - start * size, parameters.dtype)
        norms = np.empty(len(losses))
        views = self.network.views(parameters)

        def leaf(index: int) -> GradientSums:
            part = ids[index * size : (index + 1) * size]
            batch = self._examples.rows(part, exponent)
            if self.network.draws:
                batch = batch._replace(keys=self._sampler.keys(step, part))
            sums, own_losses, own_norms = self._differentiate(views, batch)
            rows = slice((index - start) * size, (index - start) * size + len(own_losses))
            losses[rows], norms[rows] = own_losses, own_norms
            return sums

        total = microbatches(len(ids), size)
        nodes, seconds = self._reduce(range(start, stop), total, leaf, GradientSums.join)
        return RangeSums(start, stop, nodes, losses, norms, seconds)

    def evaluation_sums(
        self, parameters: Array, start: int, stop: int
    ) -> RangeSums[EvaluationSums]:
        """Microbatches [start, stop) of the validation examples, forward only."""
        examples, ids = self._evaluated
        size = self._config.microbatch_size
        exponent = examples.exponent(ids)
        views = self.network.views(parameters)
        loss = self._differentiator.loss

        def leaf(index: int) -> EvaluationSums:
            batch = examples.rows(ids[index * size : (index + 1) * size], exponent)
            outputs = self.network.forward(views, batch.inputs)[-1]
            losses, _ = loss_and_error(loss, outputs, batch.targets)
            rows = outputs.reshape(len(outputs), -1)
            right = 0.0 if loss.correct is None else loss.correct(rows, batch.targets).sum()
            weighted = float(np.dot(losses.astype(np.float64), batch.weights)) * batch.factor
            weight = batch.weights.sum(dtype=np.float64) * batch.factor
            sums = np.array([weighted, weight, right, len(losses)], np.float64)
            if loss.target_kind != "value":
                return sums
            squares = np.square(rows.astype(np.float64) - batch.targets)
            return np.concatenate([sums, batch.weights @ squares * batch.factor])

        total = microbatches(len(ids), size)
        nodes, seconds = self._reduce(range(start, stop), total, leaf, add)
        none = np.empty(0, parameters.dtype)
        return RangeSums(start, stop, nodes, none, np.empty(0), seconds)

    def close(self) -> None:
        """End the threads."""
        self._pool.close()

    def _warm_up(self) -> None:
        """Compute one example, so that loops are loaded or compiled before the first step."""
        views = self.network.views(np.zeros(self.network.size, self._config.precision))
        with np.errstate(all="ignore"):
            ids = self._sampler.minibatch(0)[:1]
            first = self._examples.rows(ids)._replace(keys=self._sampler.keys(0, ids))
            self._differentiator.sums(views, first)

    def _reduce(
        self,
        leaves: range,
        total: int,
        leaf: Callable[[int], Sums],
        join: Callable[[Sums, Sums], Sums],
    ) -> tuple[list[Node[Sums]], float]:
        started = perf_counter()
        tree: ReductionTree[Sums] = ReductionTree(total, join)

        def work(index: int) -> None:
            tree.add(0, index, leaf(index))

        self._pool.run(leaves, work)
        return tree.nodes(), perf_counter() - started

    def _differentiate(
        self, views: Sequence[Parameters], batch: Microbatch
    ) -> tuple[GradientSums, Array, Floats]:
        """Sums of one microbatch; with `drop_nonfinite`, without the examples that overflow.

        The returned losses or norms of these examples are not finite, which tells the
        coordinator that they were dropped.
        """
        sums, losses, norms = self._differentiator.sums(views, batch)
        if not self._config.drop_nonfinite:
            return sums, losses, norms
        finite = np.isfinite(losses) & np.isfinite(norms)
        if finite.all():
            return sums, losses, norms
        keep = finite.reshape(-1, *([1] * (batch.inputs.ndim - 1)))
        kept = batch._replace(
            inputs=np.where(keep, batch.inputs, batch.inputs.dtype.type(0)),
            targets=np.where(finite[:, None], batch.targets, batch.targets.dtype.type(0)),
            weights=np.where(finite, batch.weights, batch.weights.dtype.type(0)),
        )
        sums, _, _ = self._differentiator.sums(views, kept)
        return sums, losses, norms
