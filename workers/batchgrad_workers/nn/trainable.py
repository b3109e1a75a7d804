"""A network of layers with its loss, as a job trains it."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from batchgrad.contract import Precision
from batchgrad_workers.arrays import Array, Floats
from batchgrad_workers.nn.clipping import clipped_sums
from batchgrad_workers.nn.gradients import Differentiator, Microbatch, loss_and_error
from batchgrad_workers.nn.layers import Parameters
from batchgrad_workers.nn.losses import Loss
from batchgrad_workers.nn.means import MeansLayout
from batchgrad_workers.nn.network import Network, Views
from batchgrad_workers.reduction.clipping import ClippingRule, PrivateRows
from batchgrad_workers.reduction.sums import GradientSums
from batchgrad_workers.trainable import EvaluationSums


class TrainableNetwork:
    """Answers `Trainable`. What `load` gives are the network's views of θ."""

    def __init__(
        self,
        network: Network,
        loss: Loss,
        *,
        with_means: bool = False,
        with_microbatch_means: bool = False,
    ) -> None:
        """Choose what sums hold beside the gradient; see `GradientSums`."""
        self.network = network
        self.loss = loss
        self._differentiator = Differentiator(
            network, loss, MeansLayout(network) if with_means else None, with_microbatch_means
        )

    @property
    def layout(self) -> Network:
        """The network is the layout of its parameters."""
        return self.network

    @property
    def draws(self) -> bool:
        """Whether it has dropout."""
        return self.network.draws

    @property
    def has_accuracy(self) -> bool:
        """Whether the loss tells right answers."""
        return self.loss.correct is not None

    def initial_parameters(self, seed: int, precision: Precision) -> Array:
        return self.network.initial_parameters(seed, precision)

    def load(self, parameters: Array) -> Views:
        return self.network.views(parameters)

    def padding(self, examples: int) -> int:
        return self._differentiator.padding(examples)

    def takes_pairs(self, examples: int, precision: Precision) -> bool:
        return self._differentiator.takes_pairs(examples, np.dtype(precision))

    def gradient_sums(
        self, loaded: Views, batch: Microbatch, microbatches: int = 1
    ) -> tuple[GradientSums, Array, Floats]:
        if microbatches == 1:
            return self._differentiator.sums(loaded, batch)
        return self._differentiator.joined_sums(loaded, batch, microbatches)

    def clipped_sums(
        self,
        loaded: Sequence[Parameters],
        batch: Microbatch,
        rows: PrivateRows,
        rule: ClippingRule,
    ) -> GradientSums:
        return clipped_sums(self._differentiator, loaded, batch, rows, rule)

    def check(self, loaded: Sequence[Parameters], batch: Microbatch, number: int) -> None:
        """Nothing is assumed of a network of layers."""

    def without(self, batch: Microbatch, finite: npt.NDArray[np.bool_]) -> Microbatch:
        inputs = batch.inputs[: len(finite)]
        keep = finite.reshape(-1, *([1] * (inputs.ndim - 1)))
        return batch._replace(
            inputs=np.where(keep, inputs, inputs.dtype.type(0)),
            targets=np.where(finite[:, None], batch.targets, batch.targets.dtype.type(0)),
            weights=np.where(finite, batch.weights, batch.weights.dtype.type(0)),
        )

    def evaluation_sums(self, loaded: Sequence[Parameters], batch: Microbatch) -> EvaluationSums:
        outputs = self.network.forward(loaded, batch.inputs)[-1]
        losses, _ = loss_and_error(self.loss, outputs, batch.targets)
        rows = outputs.reshape(len(outputs), -1)
        right = 0.0 if self.loss.correct is None else self.loss.correct(rows, batch.targets).sum()
        weighted = float(np.dot(losses.astype(np.float64), batch.weights)) * batch.factor
        weight = batch.weights.sum(dtype=np.float64) * batch.factor
        sums = np.array([weighted, weight, right, len(losses)], np.float64)
        if self.loss.target_kind != "value":
            return sums
        squares = np.square(rows.astype(np.float64) - batch.targets)
        return np.concatenate([sums, batch.weights @ squares * batch.factor])

    def each(self, loaded: Sequence[Parameters], batch: Microbatch) -> dict[str, Array]:
        return self._differentiator.each(loaded, batch)
