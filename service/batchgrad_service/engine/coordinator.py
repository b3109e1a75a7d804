"""One step of training: shard, compute, reduce, update, compare."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite, sqrt

import numpy as np
import numpy.typing as npt

from batchgrad.contract import ShortcutName
from batchgrad_service.engine.averaging import Averages, Averaging, Update
from batchgrad_service.engine.comparison import Comparison
from batchgrad_service.engine.executors import Executor
from batchgrad_service.engine.failures import NonFiniteExamples, NonFiniteSums
from batchgrad_service.engine.optimizers import Optimizer, clipped
from batchgrad_service.engine.sharding import assign
from batchgrad_service.engine.statistics import (
    histogram,
    largest,
    noise_scale,
    norm_test,
    quantiles,
)
from batchgrad_service.engine.step_report import Evaluation, StepReport, Stopwatch
from batchgrad_workers.arrays import Array, Integers
from batchgrad_workers.dataset import Examples
from batchgrad_workers.digests import checksum
from batchgrad_workers.gradients import LOSS, WEIGHT, GradientSums, add
from batchgrad_workers.losses import Loss
from batchgrad_workers.network import Network
from batchgrad_workers.order import Order
from batchgrad_workers.partial import Tree
from batchgrad_workers.shard import EvaluationSums, RangeSums, microbatches


@dataclass(frozen=True)
class Minibatch:
    """A whole minibatch: its sums, and each example's loss and ‖g_n‖², both (N,).

    `finite` (N,) says which examples count; the others were left out of the sums.
    """

    ids: Integers
    sums: GradientSums
    losses: Array
    squared_norms: Array
    finite: npt.NDArray[np.bool_]

    @property
    def weight(self) -> float:
        """Σ w_n."""
        return float(self.sums.totals[WEIGHT])


class Coordinator:
    """Holds θ and the optimizer; knows neither Ray nor files nor the clock of the wall."""

    def __init__(
        self,
        *,
        network: Network,
        loss: Loss,
        order: Order,
        examples: Examples,
        executor: Executor,
        optimizer: Optimizer,
        parameters: Array,
        microbatch_size: int,
        shortcuts: Sequence[ShortcutName],
        drop_nonfinite: bool,
        learning_rate: Callable[[int], float],
        clip_norm: float | None,
        update: Update,
    ) -> None:
        """`parameters` (P,) is θ at the first step and belongs to the coordinator from now on.

        `learning_rate` gives each step number's rate, from 0; `update` names the gradient that θ
        moves along, `shortcuts` those that are measured.
        """
        self.parameters = parameters
        self.optimizer = optimizer
        self._learning_rate = learning_rate
        self._clip_norm = clip_norm
        self._direction: Update = update
        self._averaging = Averaging(network, loss, shortcuts)
        self._loss = loss
        self._order = order
        self._examples = examples
        self._executor = executor
        self._microbatch_size = microbatch_size
        self._drop_nonfinite = drop_nonfinite

    def step(self, step: int) -> StepReport:
        """Do step number `step`, from 0.

        Raises:
            NonFinite: unless the examples are to be dropped; θ is unchanged.
            Interrupted, NoWorkers, ClusterLost: from the executor; θ is unchanged.
        """
        watch = Stopwatch()
        ids, ranges = self._shard(step)
        watch.lap("shard")
        parts = self._executor.gradient_sums(step, self.parameters, ranges)
        watch.lap("compute")
        minibatch = self._reduce(step, ids, parts)
        gradient = self._mean_gradient(step, minibatch)
        watch.lap("reduce")
        averages = self._average(minibatch)
        watch.lap("compare")
        self._update(step, gradient, averages)
        watch.lap("update")
        shortcuts = self._averaging.compare(gradient, averages) if averages else {}
        return self._report(step, minibatch, gradient, shortcuts, watch)

    def evaluate(self) -> Evaluation:
        """Loss and accuracy of θ on the validation examples, through the same workers."""
        examples = len(self._order.validation)
        if not examples:
            return Evaluation(None, None)
        count = microbatches(examples, self._microbatch_size)
        tree: Tree[EvaluationSums] = Tree(count, add)
        ranges = assign(count, self._executor.shares)
        for part in self._executor.evaluation_sums(self.parameters, ranges):
            for node in part.nodes:
                tree.add(node.level, node.index, node.sum)
        weighted_loss, weight, right, seen = tree.root()
        return Evaluation(
            loss=float(weighted_loss / weight) if weight else None,
            accuracy=float(right / seen) if self._loss.correct else None,
        )

    def _shard(self, step: int) -> tuple[Integers, list[tuple[int, int]]]:
        """The minibatch's examples, and a range of microbatches for every worker."""
        ids = self._order.minibatch(step)
        count = microbatches(len(ids), self._microbatch_size)
        return ids, assign(count, self._executor.shares)

    def _reduce(self, step: int, ids: Integers, parts: list[RangeSums[GradientSums]]) -> Minibatch:
        """Join what the workers returned, by the canonical tree."""
        tree: Tree[GradientSums] = Tree(
            microbatches(len(ids), self._microbatch_size), GradientSums.join
        )
        for part in parts:
            for node in part.nodes:
                tree.add(node.level, node.index, node.sum)
        parts = sorted(parts, key=lambda part: part.start)
        losses = np.concatenate([part.losses for part in parts])
        squared_norms = np.concatenate([part.squared_norms for part in parts])
        finite = np.isfinite(losses) & np.isfinite(squared_norms)
        if not finite.all() and not (self._drop_nonfinite and finite.any()):
            bad = [int(example) for example in ids[~finite]]
            raise NonFiniteExamples(step + 1, bad, len(ids), dropping=self._drop_nonfinite)
        return Minibatch(ids, tree.root(), losses, squared_norms, finite)

    def _mean_gradient(self, step: int, minibatch: Minibatch) -> Array:
        """G (P,) = Σ w_n g_n / Σ w_n: the one place where a sum becomes the mean."""
        total = minibatch.sums.gradient
        with np.errstate(all="ignore"):
            gradient = total / total.dtype.type(minibatch.weight or 1)
            squared = float(np.dot(gradient, gradient))
        if not isfinite(squared) or not isfinite(minibatch.sums.totals[LOSS]):
            raise NonFiniteSums(step + 1)
        return gradient

    def _average(self, minibatch: Minibatch) -> Averages | None:
        """The shortcuts at the old θ; None without any weight."""
        if not minibatch.weight:
            return None
        return self._averaging.averages(self.parameters, minibatch.sums)

    def _update(self, step: int, gradient: Array, averages: Averages | None) -> None:
        """A new θ, in place, along G or the shortcut that is trained on."""
        if averages is None:
            return
        if self._direction != "mean_gradient":
            gradient = self._averaging.gradient(averages, self._direction)
        with np.errstate(all="ignore"):  # an overflow shows in the next step's losses
            rate = self._learning_rate(step)
            self.optimizer.update(self.parameters, clipped(gradient, self._clip_norm), rate)

    def _report(
        self,
        step: int,
        minibatch: Minibatch,
        gradient: Array,
        shortcuts: dict[ShortcutName, Comparison],
        watch: Stopwatch,
    ) -> StepReport:
        ids, losses, squared_norms = minibatch.ids, minibatch.losses, minibatch.squared_norms
        dropped: list[int] = []
        if not minibatch.finite.all():
            dropped = [int(example) for example in ids[~minibatch.finite]]
            ids = ids[minibatch.finite]
            losses, squared_norms = losses[minibatch.finite], squared_norms[minibatch.finite]
        norms = np.sqrt(squared_norms)
        squared = float(np.dot(gradient, gradient))
        noise = noise_scale(squared_norms, self._examples.weights(ids), squared)
        total_loss = float(minibatch.sums.totals[LOSS])
        fingerprint = checksum(gradient)
        watch.lap("compare")
        return StepReport(
            step=step + 1,
            epoch=self._order.epoch(step) + 1,
            examples=len(minibatch.ids),
            loss=total_loss / minibatch.weight if minibatch.weight else None,
            learning_rate=self._learning_rate(step),
            gradient=gradient,
            gradient_norm=sqrt(squared),
            gradient_checksum=fingerprint,
            noise_scale=noise,
            norm_test=norm_test(noise.trace, len(ids), squared),
            ids=ids,
            losses=losses,
            norms=norms,
            norm_quantiles=quantiles(norms),
            norm_histogram=histogram(norms),
            largest_norms=largest(ids, norms),
            shortcuts=shortcuts,
            phases=dict(watch.phases),
            workers=self._executor.workers,
            dropped=dropped,
        )
