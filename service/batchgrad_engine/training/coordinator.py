"""One step of training: shard, compute, reduce, compare, update."""

from collections.abc import Callable
from math import isfinite
from typing import Any

import numpy as np

from batchgrad.contract import ValidationFigures
from batchgrad_engine.executors.protocol import Executor
from batchgrad_engine.failures import NonFiniteExamples, NonFiniteSums
from batchgrad_engine.measurement.buffer import Step
from batchgrad_engine.measurement.measuring import MAX_BUFFERED_STEPS, Measured, Measurements
from batchgrad_engine.measurement.shortcut_evaluator import ShortcutEvaluator, Update
from batchgrad_engine.step_results import MinibatchResult, Stopwatch
from batchgrad_engine.training.evaluation import Evaluation
from batchgrad_engine.training.optimizers import Optimizer, clipped
from batchgrad_engine.vectors import mean
from batchgrad_workers.arrays import Array, Integers
from batchgrad_workers.data.examples import EvaluationSet, Examples
from batchgrad_workers.data.sampler import Sampler
from batchgrad_workers.reduction.rounding import Reduction
from batchgrad_workers.reduction.sharding import assign
from batchgrad_workers.reduction.sums import LOSS, WEIGHT, GradientSums
from batchgrad_workers.reduction.tree import ReductionTree
from batchgrad_workers.runtime.shard import RangeSums, microbatches
from batchgrad_workers.runtime.threads import ThreadPool
from batchgrad_workers.trainable import Trainable


class Coordinator:
    """Holds θ and the optimizer. Uses no Ray, no files and no wall clock."""

    def __init__(
        self,
        *,
        model: Trainable,
        sampler: Sampler,
        examples: Examples,
        evaluated: EvaluationSet,
        executor: Executor,
        optimizer: Optimizer,
        parameters: Array,
        microbatch_size: int,
        reduction: Reduction,
        evaluator: ShortcutEvaluator,
        drop_nonfinite: bool,
        learning_rate: Callable[[int], float],
        clip_norm: float | None,
        update: Update,
        pool: ThreadPool,
        buffered_steps: int = MAX_BUFFERED_STEPS,
    ) -> None:
        """`parameters` (P,) is θ at the first step; the coordinator owns it from now on.

        `reduction` is how sums are joined, as on the workers. `learning_rate` maps each step
        number, from 0, to its rate. `update` names the gradient that updates θ, `evaluator`
        measures shortcuts. At most `buffered_steps` steps are buffered to be measured together,
        fewer if they are large; with 0, none is measured.
        """
        self.parameters = parameters
        self.optimizer = optimizer
        self._learning_rate = learning_rate
        self._clip_norm = clip_norm
        self._direction: Update = update
        self._evaluator = evaluator
        self._measurements = Measurements(
            self._evaluator,
            examples,
            batch_size=sampler.batch_size,
            step_bytes=4 * parameters.nbytes
            + 8 * self._evaluator.means_bytes(parameters.dtype, update)  # passes need them as rows
            + 24 * sampler.batch_size,
            buffered_steps=buffered_steps,
        )
        self._pool = pool
        self._sampler = sampler
        self._evaluation = Evaluation(model, evaluated, executor, microbatch_size)
        self._executor = executor
        self._microbatch_size = microbatch_size
        self._reduction = reduction
        self._drop_nonfinite = drop_nonfinite

    def step(self, step: int) -> MinibatchResult:
        """Compute step number `step`, from 0, and update θ; `measured` returns its figures later.

        Raises:
            NonFinite: unless the job drops such examples; θ is unchanged.
            Interrupted, NoWorkers, ClusterLost: from the executor; θ is unchanged.
        """
        with np.errstate(all="ignore"):  # _reduce checks for overflow
            watch = Stopwatch()
            rate = self._learning_rate(step)
            ids, ranges = self._shard(step)
            watch.lap("shard")
            parts = self._executor.gradient_sums(step, self.parameters, ranges)
            watch.lap("compute")
            minibatch = self._reduce(step, ids, parts)
            watch.lap("reduce")
            self._compare(step, minibatch, rate, watch)
            watch.lap("compare")
            self._update(minibatch, rate)
            watch.lap("update")
            return minibatch

    def measured(self, *, include_pending: bool = True) -> list[Measured]:
        """The figures of the steps since the last call, in order.

        `include_pending` measures buffered steps now; without it, they stay in the buffer.
        """
        return self._measurements.measured(include_pending=include_pending)

    def evaluate(self) -> ValidationFigures:
        """The figures of θ on the validation examples, computed by the same workers."""
        return self._evaluation.figures(self.parameters)

    def state(self) -> dict[str, Any]:
        """State for a checkpoint, as JSON values."""
        return {"noise": self._measurements.noise.state()}

    def restore(self, step: int, state: dict[str, Any]) -> None:
        """Continue after `step` steps from what `state` returned."""
        del step
        self._measurements.noise.restore(state["noise"])

    def close(self) -> None:
        """Nothing is held."""

    def _shard(self, step: int) -> tuple[Integers, list[tuple[int, int]]]:
        """The minibatch's example ids, and a range of microbatches for each worker."""
        drawn = self._sampler.draw(step, self._microbatch_size)
        return drawn.ids, assign(drawn.microbatches, self._executor.range_count)

    def _reduce(
        self, step: int, ids: Integers, parts: list[RangeSums[GradientSums]]
    ) -> MinibatchResult:
        """Join the workers' sums by the canonical tree, and check that they are finite."""
        tree: ReductionTree[GradientSums] = ReductionTree(
            microbatches(len(ids), self._microbatch_size), self._reduction.join
        )
        for part in parts:
            for node in part.nodes:
                tree.add(node.level, node.index, node.sum)
        parts = sorted(parts, key=lambda part: part.start)
        losses = np.concatenate([part.losses for part in parts])
        norms = np.concatenate([part.norms for part in parts])
        examples, dropped = len(ids), []
        if not isfinite(np.dot(losses, norms)):  # quick check: it may overflow by itself
            finite = np.isfinite(losses) & np.isfinite(norms)
            dropped = ids[~finite].tolist()
            if dropped and (not self._drop_nonfinite or not finite.any()):
                raise NonFiniteExamples(step + 1, dropped, examples, dropping=self._drop_nonfinite)
            ids, losses, norms = ids[finite], losses[finite], norms[finite]
        sums = tree.root()
        return MinibatchResult(
            examples,
            ids,
            losses,
            norms,
            dropped,
            sums,
            *self._means(step, sums),
        )

    def _means(self, step: int, sums: GradientSums) -> tuple[float | None, Array, float]:
        """The mean loss, G (P,) = Σ w_n g_n / Σ w_n, and ‖G‖."""
        weight = float(sums.totals[WEIGHT])
        if not sums.gradient.dtype.type(weight):
            weight = 0.0  # the remaining weights underflow beside the dropped ones
        gradient, norm = mean(sums.gradient, weight, self._pool)
        weighted_loss = float(sums.totals[LOSS])
        if not isfinite(norm) or not isfinite(weighted_loss):
            raise NonFiniteSums(step + 1)
        return weighted_loss / weight if weight else None, gradient, norm

    def _compare(
        self, step: int, minibatch: MinibatchResult, rate: float, watch: Stopwatch
    ) -> None:
        """Buffer the step, at θ before the update, to measure its shortcuts and norms."""
        self._measurements.take(
            Step(
                step + 1,
                self._sampler.epoch(step) + 1,
                rate,
                self._executor.workers,
                watch,
                minibatch.examples,
                minibatch.loss,
                minibatch.gradient_norm,
                minibatch.dropped,
            ),
            minibatch,
            self.parameters,
        )

    def _update(self, minibatch: MinibatchResult, rate: float) -> None:
        """Update θ in place, along G or the shortcut that the job trains on.

        If θ overflows, the next step's losses are not finite.
        """
        if minibatch.loss is None:
            return
        gradient = minibatch.gradient
        if self._direction != "mean_gradient":
            gradient = self._evaluator.gradient(self.parameters, minibatch.sums, self._direction)
        gradient = clipped(gradient, self._clip_norm)
        self.optimizer.update(self.parameters, gradient, rate)
