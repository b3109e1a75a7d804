"""Update rules on flat vectors, in place, and clipping; the same formulas as torch.optim.

θ parameters (P,) · G mean gradient (P,) · α learning rate · λ weight decay, both of each span of θ.
"""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any, Protocol

import numpy as np

from batchgrad import contract
from batchgrad_engine.training.parameter_groups import Slice, Span, pieces, spans
from batchgrad_engine.vectors import parallel_for
from batchgrad_workers.arrays import Array
from batchgrad_workers.nn.kernels import optimizers as kernels
from batchgrad_workers.nn.kernels.norms import norm
from batchgrad_workers.runtime.threads import ThreadPool

State = dict[str, Array]


class Optimizer(Protocol):
    """One update rule with its memory."""

    def update(self, parameters: Array, gradient: Array, learning_rate: float) -> None:
        """Change θ in place by one step along G with the spec's rate α; G is left as it is."""

    def state(self) -> State:
        """What a checkpoint keeps, by name; the arrays themselves, not copies."""

    def restore(self, state: Mapping[str, Array]) -> None:
        """Take up what `state` gave."""


class Sgd:
    """g = G + λθ; v = μv + g (v = g at first); θ -= α (g + μv if nesterov else v)."""

    def __init__(self, spec: contract.Sgd, pool: ThreadPool, spans: Sequence[Span]) -> None:
        self._spec = spec
        self._pool = pool
        self._spans = spans
        self._velocity: Array | None = None

    def update(self, parameters: Array, gradient: Array, learning_rate: float) -> None:
        spec, scalar = self._spec, parameters.dtype.type
        if self._velocity is None:
            self._velocity = np.zeros_like(parameters[: len(parameters) if spec.momentum else 0])
        velocity = self._velocity
        momentum = scalar(spec.momentum)
        numbers = [
            (scalar(learning_rate * span.rate), momentum, scalar(span.weight_decay))
            for span in self._spans
        ]

        def work(block: slice) -> None:
            for span, part in pieces(self._spans, block):
                kernels.sgd(
                    parameters[part], gradient[part], velocity[part], *numbers[span], spec.nesterov
                )

        parallel_for(self._pool, len(parameters), work)

    def state(self) -> State:
        if self._velocity is None or not self._spec.momentum:
            return {}
        return {"velocity": self._velocity}

    def restore(self, state: Mapping[str, Array]) -> None:
        self._velocity = state["velocity"].copy() if "velocity" in state else None


class Adam:
    """Kingma and Ba 2015; `decoupled` decay as in Loshchilov and Hutter 2019 (AdamW).

    μ = β₁μ + (1-β₁)g; ν = β₂ν + (1-β₂)g²; θ -= α μ̂ / (√ν̂ + ε), hats: divided by 1 - βᵗ.
    Adam adds λθ to g; AdamW first shrinks θ by 1 - αλ. ν holds squares, which bounds g and ε:
    |g| counts as at most √(largest number), ε as at least √(smallest), 1e19 and 1e-19 in float32.
    A g that is not finite makes θ NaN.
    """

    def __init__(
        self, spec: contract.Adam | contract.AdamW, pool: ThreadPool, spans: Sequence[Span]
    ) -> None:
        self._spec = spec
        self._pool = pool
        self._spans = spans
        self._decoupled = spec.kind == "adamw"
        self._mu: Array | None = None
        self._nu: Array | None = None
        self._updates = 0

    def update(self, parameters: Array, gradient: Array, learning_rate: float) -> None:
        if self._mu is None or self._nu is None:
            self._mu, self._nu = np.zeros_like(parameters), np.zeros_like(parameters)
        mu, nu = self._mu, self._nu
        self._updates += 1
        scalar = parameters.dtype.type
        numbers = [
            self._numbers(learning_rate * span.rate, span.weight_decay, scalar)
            for span in self._spans
        ]

        def work(block: slice) -> None:
            for span, part in pieces(self._spans, block):
                kernels.adam(parameters[part], gradient[part], mu[part], nu[part], *numbers[span])

        parallel_for(self._pool, len(parameters), work)

    def _numbers(self, learning_rate: float, decay: float, scalar: Any) -> tuple[Any, ...]:
        """The kernel's numbers for a span with this rate and decay, in θ's type."""
        spec = self._spec
        return (
            scalar(learning_rate / (1 - spec.beta1**self._updates)),
            scalar(spec.beta1),
            scalar(1 - spec.beta1),
            scalar(spec.beta2),
            scalar(1 - spec.beta2),
            scalar(np.sqrt(1 - spec.beta2**self._updates)),
            max(scalar(spec.eps), np.sqrt(np.finfo(scalar).tiny)),
            scalar(1 - learning_rate * decay if self._decoupled else 1),
            scalar(0 if self._decoupled else decay),
        )

    def state(self) -> State:
        if self._mu is None or self._nu is None:
            return {}
        updates = np.array([self._updates], np.float64)
        return {"first": self._mu, "second": self._nu, "updates": updates}

    def restore(self, state: Mapping[str, Array]) -> None:
        if state:
            self._mu, self._nu = state["first"].copy(), state["second"].copy()
            self._updates = int(state["updates"][0])


def make_optimizer(
    spec: contract.Optimizer, pool: ThreadPool, slices: Sequence[Slice] = ()
) -> Optimizer:
    """The update rule that `spec` names; threads of `pool` share long vectors.

    `slices` are the parameters in θ, which the spec's groups choose from by their names.

    Raises:
        Unmatched: a group has none of them.
    """
    return RULES[spec.kind](spec, pool, spans(spec, slices))


RULES: dict[str, Callable[[Any, ThreadPool, Sequence[Span]], Optimizer]] = {
    "sgd": Sgd,
    "adam": Adam,
    "adamw": Adam,
}
"""Update rules by the contract's kind."""


def clipped(gradient: Array, limit: float | None) -> Array:
    """G, or G · limit/‖G‖ where ‖G‖ > limit: torch's clip_grad_norm_ without its 1e-6.

    A norm that is not finite clips nothing: the next step's losses will tell.
    """
    if limit is None:
        return gradient
    length = norm(gradient)
    if length <= limit or not isfinite(length):
        return gradient
    factor, dtype = limit / length, gradient.dtype
    if factor < np.finfo(dtype).tiny:  # that type would keep few of its digits
        return (gradient * np.float64(factor)).astype(dtype)
    return gradient * dtype.type(factor)
