"""Update rules on flat vectors, in place, and clipping; the same formulas as torch.optim.

θ parameters (P,) · G mean gradient (P,) · α learning rate · λ weight decay.
"""

from collections.abc import Mapping
from math import isfinite
from typing import Protocol

import numpy as np

from batchgrad import contract
from batchgrad_service.engine.blocks import over
from batchgrad_service.engine.comparison import norm
from batchgrad_workers.arrays import Array
from batchgrad_workers.threads import ThreadTeam

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

    def __init__(self, spec: contract.Sgd, team: ThreadTeam) -> None:
        self._spec = spec
        self._team = team
        self._velocity: Array | None = None

    def update(self, parameters: Array, gradient: Array, learning_rate: float) -> None:
        spec, scalar = self._spec, parameters.dtype.type
        rate, momentum, decay = (
            scalar(number) for number in (learning_rate, spec.momentum, spec.weight_decay)
        )
        first = self._velocity is None
        if first and spec.momentum:
            self._velocity = np.empty_like(parameters)
        velocity = self._velocity

        def work(block: slice) -> None:
            theta, change = parameters[block], gradient[block]
            if spec.weight_decay:
                change = change + decay * theta
            direction = change
            if velocity is not None:
                direction = velocity[block]
                if first:
                    np.copyto(direction, change)
                else:
                    direction *= momentum
                    direction += change
                if spec.nesterov:
                    direction = change + momentum * direction
            theta -= rate * direction

        over(self._team, len(parameters), work, of_bytes=parameters.nbytes)

    def state(self) -> State:
        return {} if self._velocity is None else {"velocity": self._velocity}

    def restore(self, state: Mapping[str, Array]) -> None:
        self._velocity = state["velocity"].copy() if "velocity" in state else None


class Adam:
    """Kingma and Ba 2015; `decoupled` decay as in Loshchilov and Hutter 2019 (AdamW).

    m = β₁m + (1-β₁)g; v = β₂v + (1-β₂)g²; θ -= α m̂ / (√v̂ + ε), hats divided by 1 - βᵗ.
    Adam adds λθ to g; AdamW first shrinks θ by 1 - αλ.
    """

    def __init__(self, spec: contract.Adam | contract.AdamW, team: ThreadTeam) -> None:
        self._spec = spec
        self._team = team
        self._decoupled = spec.kind == "adamw"
        self._first: Array | None = None
        self._second: Array | None = None
        self._updates = 0

    def update(self, parameters: Array, gradient: Array, learning_rate: float) -> None:
        spec, scalar = self._spec, parameters.dtype.type
        if self._first is None or self._second is None:
            self._first, self._second = np.zeros_like(parameters), np.zeros_like(parameters)
        firsts, seconds = self._first, self._second
        self._updates += 1
        first_bias = 1 - spec.beta1**self._updates
        root_bias = scalar(np.sqrt(1 - spec.beta2**self._updates))

        def work(block: slice) -> None:
            theta, change = parameters[block], gradient[block]
            first, second = firsts[block], seconds[block]
            if spec.weight_decay and self._decoupled:
                theta *= scalar(1 - learning_rate * spec.weight_decay)
            elif spec.weight_decay:
                change = change + scalar(spec.weight_decay) * theta
            first *= scalar(spec.beta1)
            first += scalar(1 - spec.beta1) * change
            second *= scalar(spec.beta2)
            second += scalar(1 - spec.beta2) * (change * change)
            denominator = np.sqrt(second)
            denominator /= root_bias
            denominator += scalar(spec.eps)
            theta -= scalar(learning_rate / first_bias) * (first / denominator)

        over(self._team, len(parameters), work, of_bytes=parameters.nbytes)

    def state(self) -> State:
        if self._first is None or self._second is None:
            return {}
        updates = np.array([self._updates], np.float64)
        return {"first": self._first, "second": self._second, "updates": updates}

    def restore(self, state: Mapping[str, Array]) -> None:
        if state:
            self._first, self._second = state["first"].copy(), state["second"].copy()
            self._updates = int(state["updates"][0])


def build(spec: contract.Optimizer, team: ThreadTeam) -> Optimizer:
    """The update rule that `spec` names; `team` shares long vectors."""
    return Sgd(spec, team) if isinstance(spec, contract.Sgd) else Adam(spec, team)


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
