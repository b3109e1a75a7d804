"""Update rules on flat vectors, in place, and clipping; the same formulas as torch.optim.

θ parameters (P,) · G mean gradient (P,) · α learning rate · λ weight decay.
"""

from collections.abc import Mapping
from math import isfinite
from typing import Protocol

import numpy as np

from batchgrad import contract
from batchgrad_service.engine.comparison import norm
from batchgrad_workers.arrays import Array

State = dict[str, Array]


class Optimizer(Protocol):
    """One update rule with its memory."""

    def update(self, parameters: Array, gradient: Array, learning_rate: float) -> None:
        """Change θ in place by one step along G with rate α; G is left as it is."""

    def state(self) -> State:
        """What a checkpoint keeps, by name; the arrays themselves, not copies."""

    def restore(self, state: Mapping[str, Array]) -> None:
        """Take up what `state` gave."""


class Sgd:
    """g = G + λθ; v = μv + g (v = g at first); θ -= α (g + μv if nesterov else v)."""

    def __init__(self, spec: contract.Sgd) -> None:
        self._spec = spec
        self._velocity: Array | None = None

    def update(self, parameters: Array, gradient: Array, learning_rate: float) -> None:
        scalar = parameters.dtype.type
        momentum = scalar(self._spec.momentum)
        if self._spec.weight_decay:
            gradient = gradient + scalar(self._spec.weight_decay) * parameters
        direction = gradient
        if self._spec.momentum:
            if self._velocity is None:
                self._velocity = gradient.copy()
            else:
                self._velocity *= momentum
                self._velocity += gradient
            direction = self._velocity
            if self._spec.nesterov:
                direction = gradient + momentum * self._velocity
        parameters -= scalar(learning_rate) * direction

    def state(self) -> State:
        return {} if self._velocity is None else {"velocity": self._velocity}

    def restore(self, state: Mapping[str, Array]) -> None:
        self._velocity = state["velocity"].copy() if "velocity" in state else None


class Adam:
    """Kingma and Ba 2015; `decoupled` decay as in Loshchilov and Hutter 2019 (AdamW).

    m = β₁m + (1-β₁)g; v = β₂v + (1-β₂)g²; θ -= α m̂ / (√v̂ + ε), hats divided by 1 - βᵗ.
    Adam adds λθ to g; AdamW first shrinks θ by 1 - αλ.
    """

    def __init__(self, spec: contract.Adam | contract.AdamW) -> None:
        self._spec = spec
        self._decoupled = spec.kind == "adamw"
        self._first: Array | None = None
        self._second: Array | None = None
        self._updates = 0

    def update(self, parameters: Array, gradient: Array, learning_rate: float) -> None:
        spec, scalar = self._spec, parameters.dtype.type
        if self._first is None or self._second is None:
            self._first, self._second = np.zeros_like(parameters), np.zeros_like(parameters)
        self._updates += 1
        if spec.weight_decay and self._decoupled:
            parameters *= scalar(1 - learning_rate * spec.weight_decay)
        elif spec.weight_decay:
            gradient = gradient + scalar(spec.weight_decay) * parameters
        self._first *= scalar(spec.beta1)
        self._first += scalar(1 - spec.beta1) * gradient
        self._second *= scalar(spec.beta2)
        self._second += scalar(1 - spec.beta2) * (gradient * gradient)
        first_bias = 1 - spec.beta1**self._updates
        second_bias = 1 - spec.beta2**self._updates
        denominator = np.sqrt(self._second)
        denominator /= scalar(np.sqrt(second_bias))
        denominator += scalar(spec.eps)
        parameters -= scalar(learning_rate / first_bias) * (self._first / denominator)

    def state(self) -> State:
        if self._first is None or self._second is None:
            return {}
        updates = np.array([self._updates], np.float64)
        return {"first": self._first, "second": self._second, "updates": updates}

    def restore(self, state: Mapping[str, Array]) -> None:
        if state:
            self._first, self._second = state["first"].copy(), state["second"].copy()
            self._updates = int(state["updates"][0])


def build(spec: contract.Optimizer) -> Optimizer:
    """The update rule that `spec` names."""
    return Sgd(spec) if isinstance(spec, contract.Sgd) else Adam(spec)


def clipped(gradient: Array, limit: float | None) -> Array:
    """G, or G · limit/‖G‖ where ‖G‖ > limit: torch's clip_grad_norm_ without its 1e-6.

    A norm that is not finite clips nothing: the next step's losses will tell.
    """
    if limit is None:
        return gradient
    length = norm(gradient)
    if length <= limit or not isfinite(length):
        return gradient
    return gradient * gradient.dtype.type(limit / length)
