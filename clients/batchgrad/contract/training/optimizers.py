"""Optimizers and schedules of their learning rate, as a client writes them."""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from batchgrad.contract.wire import Integer, Number, Truth, Wire

__all__ = [
    "Adam",
    "AdamW",
    "Constant",
    "Cosine",
    "Optimizer",
    "ParameterGroup",
    "Schedule",
    "Sgd",
    "StepDecay",
]

WARM_UP = "step t of W has t/W of the learning rate: the first has 1/W, not 0"


class Constant(Wire):
    """A constant learning rate, after a linear warm-up over `warmup_steps`."""

    kind: Literal["constant"]
    warmup_steps: Integer = Field(default=0, ge=0, description=WARM_UP)


class Cosine(Wire):
    """Half a cosine from the learning rate to `final_fraction` of it, over the steps after warm-up.

    Loshchilov and Hutter 2017, without restarts. T steps have the rates at t/T, t = 0 … T - 1, so
    that the last one's is a little above `final_fraction`.
    """

    kind: Literal["cosine"]
    warmup_steps: Integer = Field(default=0, ge=0, description=WARM_UP)
    final_fraction: Number = Field(default=0.0, ge=0, le=1)


class StepDecay(Wire):
    """Multiply by `factor` after each `every` steps, as torch.optim.lr_scheduler.StepLR."""

    kind: Literal["step"]
    every: Integer = Field(ge=1)
    factor: Number = Field(default=0.1, gt=0, le=1)
    warmup_steps: Integer = Field(default=0, ge=0, description=WARM_UP)


AnySchedule = Constant | Cosine | StepDecay
Schedule = Annotated[AnySchedule, Field(discriminator="kind")]


class ParameterGroup(Wire):
    """Parameters with a learning rate or a weight decay of their own, as torch's param_groups.

    The first group whose `match` is a parameter's name counts; parameters of no group have the
    optimizer's own numbers.
    """

    match: Annotated[str, StringConstraints(min_length=1, max_length=256)] = Field(
        description="names of parameters: * stands for any characters, ? for one, [01] for one of "
        "these, as in *.bias; each group needs at least one"
    )
    learning_rate: Number | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="instead of the optimizer's; it follows the same schedule. 0 changes nothing, "
        "which keeps these parameters as they are",
    )
    weight_decay: Number | None = Field(
        default=None, ge=0, description="instead of the optimizer's"
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.learning_rate is None and self.weight_decay is None:
            raise ValueError("a group needs learning_rate, weight_decay, or both.")
        return self


class Rule(Wire):
    """Settings of every optimizer: schedule, clipping, and groups of parameters."""

    schedule: Schedule = Constant(kind="constant")
    clip_norm: Number | None = Field(
        default=None,
        gt=0,
        description="scales the mean gradient G down to this norm where it is larger; torch adds "
        "1e-6 to the norm that it divides by",
    )
    groups: list[ParameterGroup] = Field(
        default=[],
        max_length=64,
        description="parameters with a learning rate or a weight decay of their own, by their "
        'names: [{match: "*.bias", weight_decay: 0}]',
    )


class Sgd(Rule):
    """Stochastic gradient descent, as torch.optim.SGD.

    With learning rate α, momentum μ, weight decay λ: g = G + λθ; v ← μv + g, v = g at first;
    θ ← θ - αv, with nesterov θ ← θ - α(g + μv).
    """

    kind: Literal["sgd"]
    learning_rate: Number = Field(gt=0, allow_inf_nan=False)
    momentum: Number = Field(default=0.0, ge=0, lt=1)
    nesterov: Truth = False
    weight_decay: Number = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs momentum > 0; set momentum, or nesterov: false.")
        return self


class Adam(Rule):
    """Adam (Kingma and Ba 2015), as torch.optim.Adam.

    With learning rate α, weight decay λ: g = G + λθ; m ← β₁m + (1 - β₁)g; v ← β₂v + (1 - β₂)g²;
    at update t θ ← θ - α m̂/(√v̂ + eps) with m̂ = m/(1 - β₁ᵗ), v̂ = v/(1 - β₂ᵗ).
    """

    kind: Literal["adam"]
    learning_rate: Number = Field(default=1e-3, gt=0, allow_inf_nan=False)
    beta1: Number = Field(default=0.9, ge=0, lt=1)
    beta2: Number = Field(default=0.999, ge=0, lt=1)
    eps: Number = Field(default=1e-8, gt=0)
    weight_decay: Number = Field(default=0.0, ge=0)


class AdamW(Rule):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019), as torch.optim.AdamW.

    θ ← (1 - αλ)θ, then the update of Adam with g = G.
    """

    kind: Literal["adamw"]
    learning_rate: Number = Field(default=1e-3, gt=0, allow_inf_nan=False)
    beta1: Number = Field(default=0.9, ge=0, lt=1)
    beta2: Number = Field(default=0.999, ge=0, lt=1)
    eps: Number = Field(default=1e-8, gt=0)
    weight_decay: Number = Field(default=0.01, ge=0)


AnyOptimizer = Sgd | Adam | AdamW
Optimizer = Annotated[AnyOptimizer, Field(discriminator="kind")]
