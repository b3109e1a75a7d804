"""One step of private training: sample, clip, add up, add noise, update."""

from collections.abc import Callable
from math import isfinite
from typing import Any

import numpy as np

from batchgrad.contract import EXAMPLE_NORM_BOUNDS, ValidationFigures
from batchgrad_engine.executors.protocol import Executor
from batchgrad_engine.failures import NonFiniteSums
from batchgrad_engine.measurement.measuring import Measured
from batchgrad_engine.privacy.budget import Budget
from batchgrad_engine.privacy.mechanism import Mechanism, Release, noisy_count
from batchgrad_engine.step_columns import column_tree
from batchgrad_engine.step_results import Stopwatch
from batchgrad_engine.training.evaluation import Evaluation
from batchgrad_engine.training.optimizers import Optimizer
from batchgrad_workers.arrays import Array
from batchgrad_workers.data.sampler import Sampler
from batchgrad_workers.digests import checksums
from batchgrad_workers.reduction.sharding import assign
from batchgrad_workers.reduction.sums import GradientSums
from batchgrad_workers.reduction.tree import ReductionTree


class PrivateCoordinator:
    """Holds θ, the optimizer and the budget; all that it tells of a step is private.

    Rows have neither norms nor phases, nor the number of examples: they tell of the sample.
    """

    def __init__(
        self,
        *,
        sampler: Sampler,
        executor: Executor,
        optimizer: Optimizer,
        parameters: Array,
        microbatch_size: int,
        learning_rate: Callable[[int], float],
        mechanism: Mechanism,
        budget: Budget,
        evaluation: Evaluation,
        noisy_evaluation: tuple[float, bytes] | None,
    ) -> None:
        """`parameters` (P,) is θ at the first step; the coordinator owns it from now on.

        `noisy_evaluation` is the deviation of the noise on the number of right answers, and its
        key; None: validation examples are public.
        """
        self.parameters = parameters
        self.optimizer = optimizer
        self._sampler = sampler
        self._executor = executor
        self._microbatch_size = microbatch_size
        self._learning_rate = learning_rate
        self._mechanism = mechanism
        self._budget = budget
        self._evaluation = evaluation
        self._noisy_evaluation = noisy_evaluation
        self._measured: list[Measured] = []
        self._step = 0
        self._released = 0

    def step(self, step: int) -> None:
        """Compute step number `step`, from 0, and update θ.

        Raises:
            BudgetSpent: the step would spend more than ε; θ is unchanged.
            Interrupted, NoWorkers, ClusterLost: from the executor; θ is unchanged.
        """
        with np.errstate(all="ignore"):
            epsilon = self._budget.charge(step)
            self._mechanism.draw(step)
            rate = self._learning_rate(step)
            sums, drawn = self._sums(step)
            self._released = step + 1  # a failure from here on tells of the noisy gradient
            release = self._mechanism.release(step, sums, drawn)
            if not isfinite(release.gradient_norm):
                raise NonFiniteSums(step + 1)
            self.optimizer.update(self.parameters, release.gradient.copy(), rate)
            self._step = step + 1
            self._measured.append(self._row(step, release, rate, epsilon))

    def measured(self, *, include_pending: bool = True) -> list[Measured]:
        """The rows of the steps since the last call, in order."""
        del include_pending  # none is buffered
        measured, self._measured = self._measured, []
        return measured

    def evaluate(self) -> ValidationFigures:
        """The figures of θ on public validation examples, or a noisy accuracy on private ones.

        None where ε does not cover another evaluation.
        """
        if self._noisy_evaluation is None:
            return self._evaluation.figures(self.parameters)
        accuracy = None
        found = self._evaluation.right_answers(self.parameters)
        if found is not None and self._budget.charge_evaluation(self._step):
            (right, seen), (deviation, key) = found, self._noisy_evaluation
            accuracy = noisy_count(right, deviation, key, self._step) / seen
            accuracy = min(max(accuracy, 0.0), 1.0)
        return ValidationFigures(validation_loss=None, validation_accuracy=accuracy)

    def state(self) -> dict[str, Any]:
        """State for a checkpoint, as JSON values."""
        return {"clip_norm": self._mechanism.clip_norm}

    def restore(self, step: int, state: dict[str, Any]) -> None:
        """Continue after `step` steps from what `state` returned.

        Raises:
            ChargesLost: what the steps have spent is unknown.
        """
        evaluated = self._noisy_evaluation is not None and state["evaluation"]["step"] > 0
        self._budget.resume(step, evaluated=evaluated)
        self._step = self._released = step
        self._mechanism.clip_norm = state["clip_norm"]

    def close(self) -> None:
        """Take back charges of steps that did not run, and end the thread that draws noise."""
        self._budget.end(self._released)
        self._mechanism.close()

    def _sums(self, step: int) -> tuple[GradientSums, int]:
        """Sums of clipped gradients, and the number of units in the minibatch."""
        drawn = self._sampler.draw(step, self._microbatch_size)
        tree: ReductionTree[GradientSums] = ReductionTree(drawn.microbatches, GradientSums.join)
        ranges = assign(drawn.microbatches, self._executor.range_count)
        clip_norm = self._mechanism.clip_norm
        for part in self._executor.gradient_sums(step, self.parameters, ranges, clip_norm):
            for node in part.nodes:
                tree.add(node.level, node.index, node.sum)
        units = len(drawn.ids) if drawn.starts is None else len(drawn.starts)
        return tree.root(), units

    def _row(self, step: int, release: Release, rate: float, epsilon: float | None) -> Measured:
        row: dict[str, Any] = {
            "step": step + 1,
            "epoch": self._sampler.epoch(step) + 1,
            "loss": release.loss,
            "learning_rate": rate,
            "gradient_norm": release.gradient_norm,
            "noise_scale": None,
            "weight": None,
            "norm_test": None,
            "gradient_checksum": checksums(release.gradient[None])[0],
            "norms": None,
            "shortcuts": {},
            "workers": self._executor.workers,
            "epsilon": epsilon,
        }
        return Measured(
            columns=column_tree([row]),
            watches=[Stopwatch()],
            examples=0,
            ids=np.empty(0, np.int64),
            losses=np.empty(0),
            norms=np.empty(0),
            histogram=np.zeros(len(EXAMPLE_NORM_BOUNDS) + 1, np.int64),
            dropped=[],
        )
