"""One step of training: shard, compute, reduce, update, compare."""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Literal

import numpy as np

from batchgrad.contract import ShortcutName
from batchgrad_service.engine.comparison import Comparison, Shortcuts, agreement, compare
from batchgrad_service.engine.executors import Executor
from batchgrad_service.engine.optimizers import Optimizer
from batchgrad_service.engine.sharding import assign
from batchgrad_service.engine.statistics import NoiseScale, largest, noise_scale, quantiles
from batchgrad_workers.arrays import Array, Integers
from batchgrad_workers.dataset import Examples
from batchgrad_workers.gradients import LOSS, WEIGHING, WEIGHT, GradientSums, add
from batchgrad_workers.losses import Loss
from batchgrad_workers.means import MeansLayout
from batchgrad_workers.network import Network
from batchgrad_workers.order import Order
from batchgrad_workers.partial import Tree
from batchgrad_workers.shard import EvaluationSums, RangeSums, microbatches

Phase = Literal["shard", "compute", "reduce", "update", "compare"]


class NonFiniteExamples(Exception):
    """The loss or gradient of these examples is not finite; θ is still that before the step."""

    def __init__(self, step: int, examples: list[int]) -> None:
        self.step = step
        self.examples = examples
        super().__init__(
            f"Step {step}: loss or gradient is not finite for {len(examples)} example(s), first "
            f"{examples[:10]}. Lower the learning rate, standardize the inputs, look at these "
            "examples, or set nonfinite: drop to leave them out."
        )


@dataclass(frozen=True)
class StepReport:
    """What one step did. Loss and gradient are at the parameters before the update.

    `loss` is None when all weights in the minibatch are 0: there is no mean then and no update.
    `norms` (n,) are the finite ‖g_n‖; `dropped` the examples that were left out.
    """

    step: int
    epoch: int
    examples: int
    loss: float | None
    learning_rate: float
    gradient_norm: float
    noise_scale: NoiseScale
    norms: Array
    norm_quantiles: dict[str, float]
    largest_norms: list[tuple[int, float]]
    shortcuts: dict[ShortcutName, Comparison]
    phases: dict[Phase, float]
    workers: int
    dropped: list[int]


@dataclass(frozen=True)
class Evaluation:
    """Figures over the validation examples; None where they have no meaning."""

    loss: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Totals:
    """A whole minibatch: its sums, and each example's loss and ‖g_n‖², both (N,)."""

    sums: GradientSums
    losses: Array
    squared_norms: Array


class Stopwatch:
    """Seconds by phase."""

    def __init__(self) -> None:
        self.phases: dict[Phase, float] = {}
        self._last = perf_counter()

    def lap(self, phase: Phase) -> None:
        """The time since the last lap belongs to `phase`."""
        now = perf_counter()
        self.phases[phase] = now - self._last
        self._last = now


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
    ) -> None:
        """`parameters` (P,) is θ at the first step and belongs to the coordinator from now on."""
        self.parameters = parameters
        self.optimizer = optimizer
        self._before = parameters.copy()
        self._network = network
        self._loss = loss
        self._order = order
        self._examples = examples
        self._executor = executor
        self._microbatch_size = microbatch_size
        self._names = tuple(shortcuts)
        self._shortcuts = Shortcuts(network, loss)
        self._means = MeansLayout(network)
        self._drop_nonfinite = drop_nonfinite

    def step(self, step: int) -> StepReport:
        """Do step number `step`, from 0.

        Raises:
            NonFiniteExamples: unless they are to be dropped.
            Interrupted, NoWorkers: from the executor; θ is unchanged.
        """
        watch = Stopwatch()
        ids, ranges = self._shard(step)
        watch.lap("shard")
        parts = self._executor.gradient_sums(step, self.parameters, ranges)
        watch.lap("compute")
        totals = self._reduce(parts, len(ids))
        dropped = self._refuse_nonfinite(step, ids, totals)
        gradient = self._mean_gradient(totals.sums)
        watch.lap("reduce")
        self._update(gradient, totals.sums)
        watch.lap("update")
        shortcuts = self._compare(gradient, totals.sums)
        return self._report(step, ids, totals, gradient, shortcuts, dropped, watch)

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
        ids = self._order.minibatch(step)
        count = microbatches(len(ids), self._microbatch_size)
        return ids, assign(count, self._executor.shares)

    def _reduce(self, parts: list[RangeSums[GradientSums]], examples: int) -> Totals:
        count = microbatches(examples, self._microbatch_size)
        tree: Tree[GradientSums] = Tree(count, GradientSums.join)
        for part in parts:
            for node in part.nodes:
                tree.add(node.level, node.index, node.sum)
        parts = sorted(parts, key=lambda part: part.start)
        return Totals(
            tree.root(),
            np.concatenate([part.losses for part in parts]),
            np.concatenate([part.squared_norms for part in parts]),
        )

    def _refuse_nonfinite(self, step: int, ids: Integers, totals: Totals) -> list[int]:
        finite = np.isfinite(totals.losses) & np.isfinite(totals.squared_norms)
        if finite.all():
            return []
        bad = [int(example) for example in ids[~finite]]
        if not self._drop_nonfinite or not finite.any():
            raise NonFiniteExamples(step + 1, bad)
        return bad

    def _mean_gradient(self, sums: GradientSums) -> Array:
        """G (P,) = Σ w_n g_n / Σ w_n: the one place where a sum becomes the mean."""
        weight = sums.totals[WEIGHT]
        return sums.gradient / sums.gradient.dtype.type(weight or 1)

    def _update(self, gradient: Array, sums: GradientSums) -> None:
        """A new θ; the one before stays in `_before` for the comparison."""
        self.parameters, self._before = self._before, self.parameters
        np.copyto(self.parameters, self._before)
        if sums.totals[WEIGHT]:
            with np.errstate(all="ignore"):  # an overflow shows in the next step's losses
                self.optimizer.update(self.parameters, gradient)

    def _compare(self, gradient: Array, sums: GradientSums) -> dict[ShortcutName, Comparison]:
        """Every wanted shortcut beside G, at the parameters before the update."""
        if not sums.totals[WEIGHT] or not self._names:
            return {}
        found: dict[ShortcutName, Comparison] = {}
        views = self._network.views(self._before)
        with np.errstate(all="ignore"):
            if sums.means.size:
                means = self._means.means(sums.means, sums.totals[WEIGHT])
                frozen = self._shortcuts.frozen(means)
                if "averaged_error" in self._names:
                    shortcut = self._shortcuts.averaged_error(views, means)
                    found["averaged_error"] = compare(self._network, gradient, frozen, shortcut)
                if "mean_example" in self._names:
                    shortcut = self._shortcuts.mean_example(views, means)
                    found["mean_example"] = compare(self._network, gradient, frozen, shortcut)
            if "mean_of_means" in self._names:
                mean = sums.microbatch_means / gradient.dtype.type(sums.totals[WEIGHING])
                found["mean_of_means"] = Comparison(agreement(gradient, mean), None)
        return found

    def _report(
        self,
        step: int,
        ids: Integers,
        totals: Totals,
        gradient: Array,
        shortcuts: dict[ShortcutName, Comparison],
        dropped: list[int],
        watch: Stopwatch,
    ) -> StepReport:
        finite = np.isfinite(totals.losses) & np.isfinite(totals.squared_norms)
        kept = ids if not dropped else ids[finite]
        squared_norms = totals.squared_norms if not dropped else totals.squared_norms[finite]
        norms = np.sqrt(squared_norms)
        weight = totals.sums.totals[WEIGHT]
        squared = float(np.dot(gradient, gradient))
        noise = noise_scale(squared_norms, self._examples.weights(kept), squared)
        watch.lap("compare")
        return StepReport(
            step=step + 1,
            epoch=self._order.epoch(step) + 1,
            examples=len(ids),
            loss=float(totals.sums.totals[LOSS] / weight) if weight else None,
            learning_rate=self.optimizer.learning_rate,
            gradient_norm=float(np.sqrt(squared)),
            noise_scale=noise,
            norms=norms,
            norm_quantiles=quantiles(norms),
            largest_norms=largest(kept, norms),
            shortcuts=shortcuts,
            phases=watch.phases,
            workers=self._executor.workers,
            dropped=dropped,
        )
