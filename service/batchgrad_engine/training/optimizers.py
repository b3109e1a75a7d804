"""Update rules on flat vectors, in place, and clipping; the same formulas as torch.optim.

θ parameters (P,) · G mean gradient (P,) · α learning rate · λ weight decay.
"""

from collections.abc import Mapping
from math import isfinite
from typing import Any, Protocol

import numpy as np

from batchgrad import contract
from batchgrad_engine.vectors import parallel_for
from batchgrad_workers.arrays import Array
from batchgrad_workers.nn.kernels.jit import compiled
from batchgrad_workers.nn.kernels.norms import norm
from batchgrad_workers.runtime.threads import ThreadPool

State = dict[str, Array]
Number = np.floating[Any]


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

    def __init__(self, spec: contract.Sgd, team: ThreadPool) -> None:
        self._spec = spec
        self._team = team
        self._velocity: Array | None = None

    def update(self, parameters: Array, gradient: Array, learning_rate: float) -> None:
        spec, scalar = self._spec, parameters.dtype.type
        if self._velocity is None:
            self._velocity = np.zeros_like(parameters[: len(parameters) if spec.momentum else 0])
        velocity = self._velocity
        numbers = scalar(learning_rate), scalar(spec.momentum), scalar(spec.weight_decay)

        def work(block: slice) -> None:
            _sgd(parameters[block], gradient[block], velocity[block], *numbers, spec.nesterov)

        parallel_for(self._team, len(parameters), work)

    def state(self) -> State:
        if self._velocity is None or not self._spec.momentum:
            return {}
        return {"velocity": self._velocity}

    def restore(self, state: Mapping[str, Array]) -> None:
        self._velocity = state["velocity"].copy() if "velocity" in state else None


@compiled
def _sgd(
    parameters: Array,
    gradient: Array,
    velocity: Array,
    rate: Number,
    momentum: Number,
    decay: Number,
    nesterov: bool,
) -> None:
    for p in range(len(parameters)):
        change = gradient[p] + decay * parameters[p]
        if momentum:
            velocity[p] = momentum * velocity[p] + change
            change = change + momentum * velocity[p] if nesterov else velocity[p]
        parameters[p] -= rate * change


class Adam:
    """Kingma and Ba 2015; `decoupled` decay as in Loshchilov and Hutter 2019 (AdamW).

    m = β₁m + (1-β₁)g; v = β₂v + (1-β₂)g²; θ -= α m̂ / (√v̂ + ε), hats divided by 1 - βᵗ.
    Adam adds λθ to g; AdamW first shrinks θ by 1 - αλ. The squares in v bound g and ε: g counts
    as at most √(largest number), and ε as at least √(smallest), 1e19 and 1e-19 in float32; a g that
    is not finite makes θ no number.
    """

    def __init__(self, spec: contract.Adam | contract.AdamW, team: ThreadPool) -> None:
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
        decay = spec.weight_decay
        numbers = (
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

        def work(block: slice) -> None:
            _adam(parameters[block], gradient[block], firsts[block], seconds[block], *numbers)

        parallel_for(self._team, len(parameters), work)

    def state(self) -> State:
        if self._first is None or self._second is None:
            return {}
        updates = np.array([self._updates], np.float64)
        return {"first": self._first, "second": self._second, "updates": updates}

    def restore(self, state: Mapping[str, Array]) -> None:
        if state:
            self._first, self._second = state["first"].copy(), state["second"].copy()
            self._updates = int(state["updates"][0])


@compiled
def _adam(
    parameters: Array,
    gradient: Array,
    firsts: Array,
    seconds: Array,
    rate: Number,
    keep_first: Number,
    take_first: Number,
    keep_second: Number,
    take_second: Number,
    root_bias: Number,
    eps: Number,
    shrink: Number,
    decay: Number,
) -> None:
    """`rate` is α / (1 - β₁ᵗ), `root_bias` √(1 - β₂ᵗ)."""
    scalar = parameters.dtype.type
    most = np.sqrt(np.finfo(parameters.dtype).max) * scalar(0.99)
    infinite, undefined = scalar(np.inf), scalar(np.nan)
    for p in range(len(parameters)):
        theta = shrink * parameters[p]
        change = gradient[p] + decay * theta
        change = min(max(change, -most), most) if abs(change) < infinite else undefined
        firsts[p] = keep_first * firsts[p] + take_first * change
        seconds[p] = keep_second * seconds[p] + take_second * (change * change)
        denominator = np.sqrt(seconds[p]) / root_bias + eps
        parameters[p] = theta - rate * (firsts[p] / denominator)


def build(spec: contract.Optimizer, team: ThreadPool) -> Optimizer:
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
    factor, dtype = limit / length, gradient.dtype
    if factor < np.finfo(dtype).tiny:  # that type would keep few of its digits
        return (gradient * np.float64(factor)).astype(dtype)
    return gradient * dtype.type(factor)
