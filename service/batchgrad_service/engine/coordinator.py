"""One step of training: shard, compute, reduce, update, compare."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Literal

import numpy as np

from batchgrad.contract import ShortcutName
from batchgrad_service.engine.comparison import Comparison, Shortcuts, agreement, compare
from batchgrad_service.engine.executors import Executor
from batchgrad_service.engine.optimizers import Optimizer, clipped
from batchgrad_service.engine.sharding import assign
from batchgrad_service.engine.statistics import (
    NoiseScale,
    NormTest,
    histogram,
    largest,
    noise_scale,
    norm_test,
    quantiles,
)
from batchgrad_workers.arrays import Array, Integers
from batchgrad_workers.dataset import Examples
from batchgrad_workers.digests import checksum
from batchgrad_workers.gradients import LOSS, WEIGHING, WEIGHT, GradientSums, add
from batchgrad_workers.losses import Loss
from batchgrad_workers.means import MeansLayout
from batchgrad_workers.network import Network
from batchgrad_workers.order import Order
from batchgrad_workers.partial import Tree
from batchgrad_workers.shard import EvaluationSums, RangeSums, microbatches

Phase = Literal["shard", "compute", "reduce", "update", "compare"]
Update = Literal["mean_gradient"] | ShortcutName


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
    `gradient` (P,) is G. `ids`, `losses` and `norms` (n,) are the examples that count, their ℓ_n
    and ‖g_n‖, all finite; `dropped` are the others, which were left out.
    """

    step: int
    epoch: int
    examples: int
    loss: float | None
    learning_rate: float
    gradient: Array
    gradient_norm: float
    gradient_checksum: str
    noise_scale: NoiseScale
    norm_test: NormTest
    ids: Integers
    losses: Array
    norms: Array
    norm_quantiles: dict[str, float]
    norm_histogram: list[int]
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


@dataclass(frozen=True)
class Averages:
    """What averaging early gives at one θ: each shortcut's gradient (P,), and F (P,) if needed."""

    shortcuts: dict[ShortcutName, Array]
    frozen: Array | None


class Stopwatch:
    """Seconds by phase."""

    def __init__(self) -> None:
        self.phases: defaultdict[Phase, float] = defaultdict(float)
        self._last = perf_counter()

    def lap(self, phase: Phase) -> None:
        """The time since the last lap belongs to `phase`."""
        now = perf_counter()
        self.phases[phase] += now - self._last
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
        averages = self._average(totals.sums)
        watch.lap("compare")
        self._update(step, gradient, averages)
        watch.lap("update")
        shortcuts = self._compare(gradient, averages)
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

    def _average(self, sums: GradientSums) -> Averages | None:
        """The shortcuts' gradients that are measured or trained on; None without any weight."""
        if not sums.totals[WEIGHT]:
            return None
        wanted = {*self._names, self._direction}
        found: dict[ShortcutName, Array] = {}
        frozen = None
        views = self._network.views(self.parameters)
        with np.errstate(all="ignore"):
            if sums.means.size:
                means = self._means.means(sums.means, sums.totals[WEIGHT])
                frozen = self._shortcuts.frozen(means)
                if "averaged_error" in wanted:
                    found["averaged_error"] = self._shortcuts.averaged_error(views, means)
                if "mean_example" in wanted:
                    found["mean_example"] = self._shortcuts.mean_example(views, means)
            if "mean_of_means" in wanted:
                microbatches = sums.microbatch_means.dtype.type(sums.totals[WEIGHING])
                found["mean_of_means"] = sums.microbatch_means / microbatches
        return Averages(found, frozen)

    def _update(self, step: int, gradient: Array, averages: Averages | None) -> None:
        """A new θ, in place, along G or the shortcut that is trained on."""
        if averages is None:
            return
        if self._direction != "mean_gradient":
            gradient = averages.shortcuts[self._direction]
        with np.errstate(all="ignore"):  # an overflow shows in the next step's losses
            rate = self._learning_rate(step)
            self.optimizer.update(self.parameters, clipped(gradient, self._clip_norm), rate)

    def _compare(
        self, gradient: Array, averages: Averages | None
    ) -> dict[ShortcutName, Comparison]:
        """Every measured shortcut beside G, both at the parameters before the update."""
        if averages is None:
            return {}
        found: dict[ShortcutName, Comparison] = {}
        with np.errstate(all="ignore"):
            for name in self._names:
                shortcut = averages.shortcuts[name]
                if name == "mean_of_means" or averages.frozen is None:
                    found[name] = Comparison(agreement(gradient, shortcut), None)
                else:
                    found[name] = compare(self._network, gradient, averages.frozen, shortcut)
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
        kept, losses, squared_norms = ids, totals.losses, totals.squared_norms
        if dropped:
            kept, losses, squared_norms = ids[finite], losses[finite], squared_norms[finite]
        norms = np.sqrt(squared_norms)
        weight = totals.sums.totals[WEIGHT]
        squared = float(np.dot(gradient, gradient))
        noise = noise_scale(squared_norms, self._examples.weights(kept), squared)
        fingerprint = checksum(gradient)
        watch.lap("compare")
        return StepReport(
            step=step + 1,
            epoch=self._order.epoch(step) + 1,
            examples=len(ids),
            loss=float(totals.sums.totals[LOSS] / weight) if weight else None,
            learning_rate=self._learning_rate(step),
            gradient=gradient,
            gradient_norm=float(np.sqrt(squared)),
            gradient_checksum=fingerprint,
            noise_scale=noise,
            norm_test=norm_test(noise.trace, len(kept), squared),
            ids=kept,
            losses=losses,
            norms=norms,
            norm_quantiles=quantiles(norms),
            norm_histogram=histogram(norms),
            largest_norms=largest(kept, norms),
            shortcuts=shortcuts,
            phases=dict(watch.phases),
            workers=self._executor.workers,
            dropped=dropped,
        )
