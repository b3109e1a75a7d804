"""The protocol of a model that a job trains: a network of layers, or a PyTorch module."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from batchgrad.contract import Precision, ShortcutName
from batchgrad_workers.arrays import Array, Floats
from batchgrad_workers.parameters import ParameterLayout
from batchgrad_workers.reduction.clipping import ClippingRule, PrivateRows
from batchgrad_workers.reduction.sums import GradientSums

EvaluationSums = npt.NDArray[np.float64]
"""(4,): Σ w_n ℓ_n, Σ w_n (of the scaled weights), right answers, examples.

A loss whose targets are numbers adds (outputs,): Σ w_n (f_n - y_n)² of each output.
"""


class Trainable(Protocol):
    """What workers and the coordinator ask of a model; a batch is what its `Examples` give.

    `draws`: it draws random numbers, by the keys of a batch. `has_accuracy`: an answer is right or
    wrong.
    """

    @property
    def layout(self) -> ParameterLayout: ...

    @property
    def draws(self) -> bool: ...

    @property
    def has_accuracy(self) -> bool: ...

    def initial_parameters(self, seed: int, precision: Precision) -> Array:
        """Initial θ (P,)."""

    def load(self, parameters: Array) -> Any:
        """θ (P,) as the other methods take it, on several threads at once, until the next load."""

    def padding(self, examples: int) -> int:
        """How many rows of inputs to put behind those of a microbatch of so many examples."""

    def takes_pairs(self, examples: int, precision: Precision) -> bool:
        """Whether `gradient_sums` takes two microbatches of so many examples at once.

        `check` is not called for such a model.
        """

    def gradient_sums(
        self, loaded: Any, batch: Any, microbatches: int = 1
    ) -> tuple[GradientSums, Array, Floats]:
        """Sums over a microbatch, each example's loss ℓ_n (n,), and ‖g_n‖ (n,) in float64.

        Losses and norms do not include weights. A norm is infinite only if a number of the gradient
        is not finite. Of two `microbatches`, whose weights have the same exponent, it gives the
        joined sums and the losses and norms of both, with the bits of one by one.
        """

    def clipped_sums(
        self, loaded: Any, batch: Any, rows: PrivateRows, rule: ClippingRule
    ) -> GradientSums:
        """Σ of the units' clipped gradients over a microbatch; `totals` as in `clipping.totals`.

        Each unit adds at most C, however its gradient is rounded, and nothing if it is not finite.
        The batch's own weights count for nothing, those of `rows` do.
        """

    def check(self, loaded: Any, batch: Any, number: int) -> None:
        """Check on live rows what is assumed of the model; `number` counts these checks.

        Raises:
            BadModule: these rows show that it is not so.
        """

    def without(self, batch: Any, finite: npt.NDArray[np.bool_]) -> Any:
        """The batch in which examples that are not `finite` (n,) add nothing, in the same shape."""

    def evaluation_sums(self, loaded: Any, batch: Any) -> EvaluationSums:
        """Sums over a microbatch of validation examples."""

    def each(self, loaded: Any, batch: Any) -> dict[str, Array]:
        """g_n of every example by parameter name, (n, *shape). N x P numbers: for few examples."""


Run = Callable[[range, Callable[[int], None]], None]
"""Calls a function once for each number, as `ThreadPool.run` does."""


class MeansTrainable(Trainable, Protocol):
    """A model that forms the gradients of shortcuts itself, from the means of a minibatch.

    `means_size` is the length of `GradientSums.means`; `task` is the module with its losses.
    """

    @property
    def task(self) -> Any: ...

    def has_values(self, batch: Any) -> bool:
        """Whether outputs are compared with numbers, so that evaluations sum squared errors."""

    @property
    def means_size(self) -> int: ...

    def shortcut_gradients(
        self,
        parameters: Array,
        row: Any,
        means: Array,
        weight: float,
        names: Sequence[ShortcutName],
        run: Run,
    ) -> dict[ShortcutName, tuple[Array, Array]]:
        """F (P,) and s (P,) of each shortcut at θ (P,), from the sums `means` and Σ w_n.

        F takes each call's exact mean input and exact mean error, s the shortcut's errors. `row` is
        a batch of any one example, for what has no mean. `run` calls a function of several
        numbers, perhaps on threads.
        """
