"""Evaluation of parameters on the validation examples, by the same workers as training."""

from functools import cached_property

import numpy as np

from batchgrad.contract import ValidationFigures
from batchgrad_engine.executors.protocol import Executor
from batchgrad_engine.training.regression import r2_and_rmse, target_variance
from batchgrad_workers.arrays import Array, Floats
from batchgrad_workers.data.examples import EvaluationSet
from batchgrad_workers.reduction.sharding import assign
from batchgrad_workers.reduction.sums import add
from batchgrad_workers.reduction.tree import ReductionTree
from batchgrad_workers.runtime.shard import microbatches
from batchgrad_workers.trainable import EvaluationSums, Trainable


class Evaluation:
    """Evaluates θ on these examples."""

    def __init__(
        self,
        model: Trainable,
        evaluated: EvaluationSet,
        executor: Executor,
        microbatch_size: int,
    ) -> None:
        self._model = model
        self._evaluated = evaluated
        self._executor = executor
        self._microbatch_size = microbatch_size

    def figures(self, parameters: Array) -> ValidationFigures:
        """All figures of θ (P,); null without validation examples."""
        sums = self._sums(parameters)
        if sums is None:
            return ValidationFigures(validation_loss=None, validation_accuracy=None)
        weighted_loss, weight, right, seen, *squares = sums
        r2 = rmse = None
        if squares and weight:
            r2, rmse = r2_and_rmse(np.array(squares) / weight, self._target_variance)
        return ValidationFigures(
            validation_loss=weighted_loss / weight if weight else None,
            validation_accuracy=right / seen if self._model.has_accuracy else None,
            validation_r2=r2,
            validation_rmse=rmse,
        )

    def right_answers(self, parameters: Array) -> tuple[float, float] | None:
        """The number of right answers of θ (P,), and of examples; None without examples."""
        sums = self._sums(parameters)
        return None if sums is None else (sums[2], sums[3])

    def _sums(self, parameters: Array) -> list[float] | None:
        examples = len(self._evaluated.rows)
        if not examples:
            return None
        count = microbatches(examples, self._microbatch_size)
        tree: ReductionTree[EvaluationSums] = ReductionTree(count, add)
        ranges = assign(count, self._executor.range_count)
        for part in self._executor.evaluation_sums(parameters, ranges):
            for node in part.nodes:
                tree.add(node.level, node.index, node.sum)
        return tree.root().tolist()

    @cached_property
    def _target_variance(self) -> Floats:
        return target_variance(*self._evaluated)
