"""Models that mix examples: their losses have no gradient of one example, and they are refused.

Each mixes in a submodule of a name of its own, or in its outputs or losses outside of modules.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from batchgrad.torch.tasks import Task
from batchgrad_workers.torch.replica import Batch, Replica
from tests.torch.zoo.case import (
    Arrays,
    Build,
    Built,
    Model,
    classes,
    cross_entropy,
    floats,
    language,
    made,
    parameter,
    whole,
)


@dataclass(frozen=True)
class Mixing:
    """A model that a preflight must refuse, with the words that the refusal must contain.

    `sees`: the losses of an example depend on others at these parameters; not so if only
    gradients mix, if buffers or parameters change, or if a gate of 0 hides it.
    """

    name: str
    build: Build
    words: str
    sees: bool

    def made(self) -> tuple[Replica, Batch]:
        """A replica at its initial parameters, and the batch; the same numbers at every call."""
        return made(self.name, self.build, moved=0.0)


MIXING: dict[str, Mixing] = {}


def mixes(words: str, *, sees: bool = True) -> Callable[[Build], Build]:
    """Enter a function that builds a model, under its name."""

    def enter(build: Build) -> Build:
        MIXING[build.__name__] = Mixing(build.__name__, build, words, sees)
        return build

    return enter


def around(**inner: nn.Module) -> nn.Module:
    """A classifier with a module between two layers; example m of the batch is x[m]."""
    ((name, module),) = inner.items()

    def forward(m: nn.Module, x: Tensor) -> Tensor:
        return m.head(getattr(m, name)(m.first(x)))

    return Model(forward, first=nn.Linear(4, 6), head=nn.Linear(6, 3), **{name: module})


@mixes("norm")
def batch_norm() -> Built:
    return classes(around(norm=nn.BatchNorm1d(6)), floats(4))


@mixes("norm")
def batch_norm_without_buffers() -> Built:
    return classes(around(norm=nn.BatchNorm1d(6, track_running_stats=False)), floats(4))


@mixes("centre")
def centred() -> Built:
    return classes(around(centre=Model(lambda _, x: x - x.mean(0))), floats(4))


@mixes("rank")
def softmax_over_examples() -> Built:
    return classes(around(rank=Model(lambda _, x: x.softmax(0))), floats(4))


@mixes("middle")
def median_of_the_batch() -> Built:
    return classes(around(middle=Model(lambda _, x: x - x.median(0).values)), floats(4))


@mixes("scale")
def largest_of_the_batch() -> Built:
    return classes(around(scale=Model(lambda _, x: x / x.abs().max())), floats(4))


@mixes("gated", sees=False)
def statistics_behind_a_gate_of_zero() -> Built:
    gated = Model(lambda m, x: x + m.gate * x.mean(0), gate=nn.Parameter(torch.zeros(1)))
    return classes(around(gated=gated), floats(4))


@mixes("adapter", sees=False)
def statistics_behind_a_low_rank_of_zero() -> Built:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        return x + m.up(m.down(x - x.mean(0)))

    up, down = nn.Linear(2, 6, bias=False), nn.Linear(6, 2, bias=False)
    nn.init.zeros_(up.weight)
    return classes(around(adapter=Model(forward, up=up, down=down)), floats(4))


@mixes("attention")
def attention_between_examples() -> Built:
    """Batches first for a layer that takes them second."""
    layer = nn.MultiheadAttention(4, 2)
    model = Model(
        lambda m, x: m.head(m.attention(x, x, x)[0].mean(1)), attention=layer, head=nn.Linear(4, 3)
    )
    return classes(model, floats(5, 4))


@mixes("inner")
def recurrence_over_examples() -> Built:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        return m.head(m.inner(x)[0][:, -1])

    return classes(Model(forward, inner=nn.GRU(4, 4), head=nn.Linear(4, 3)), floats(5, 4))


@mixes("sorts")
def sorted_examples() -> Built:
    return classes(around(sorts=Model(lambda _, x: x.sort(0).values)), floats(4))


@mixes("shift")
def neighbours() -> Built:
    return classes(around(shift=Model(lambda _, x: x + x.roll(1, 0))), floats(4))


@mixes("branch")
def branch_by_the_batch() -> Built:
    branch = Model(lambda _, x: x * (2 if x.sum() > 0 else 3))
    return classes(around(branch=branch), floats(4))


@mixes("counter", sees=False)
def buffer_that_counts() -> Built:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        m.seen.add_(len(x))
        return x

    return classes(around(counter=Model(forward, seen=torch.zeros(1))), floats(4))


@mixes("averages")
def moving_average() -> Built:
    def forward(m: nn.Module, x: Tensor) -> Tensor:
        with torch.no_grad():
            m.mean.mul_(0.9).add_(0.1 * x.mean(0))
        return x - m.mean

    return classes(around(averages=Model(forward, mean=torch.zeros(6))), floats(4))


@mixes("norm", sees=False)
def running_statistics_of_single_examples() -> Built:
    layers = nn.Conv1d(2, 4, 3), nn.InstanceNorm1d(4, affine=True, track_running_stats=True)
    parts = {"first": layers[0], "norm": layers[1], "head": nn.Linear(4, 3)}
    model = Model(lambda m, x: m.head(m.norm(m.first(x)).exp().mean(2)), **parts)
    return classes(model, floats(2, 7))


@mixes("words", sees=False)
def gradients_scaled_by_frequency() -> Built:
    """Losses do not mix, but the backward pass divides by the words' counts in the batch."""
    words = nn.Embedding(4, 4, scale_grad_by_freq=True)
    model = Model(lambda m, x: m.head(m.words(x).tanh().sum(1)), words=words, head=nn.Linear(4, 3))
    return classes(model, whole(4, 5))


@mixes("words", sees=False)
def parameters_changed_by_the_forward_pass() -> Built:
    words = nn.Embedding(4, 4, max_norm=0.5)
    model = Model(lambda m, x: m.head(m.words(x).tanh().sum(1)), words=words, head=nn.Linear(4, 3))
    return classes(model, whole(4, 5))


def scores() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))


def with_losses(losses: Callable[[Tensor, Arrays], Tensor]) -> Built:
    task = Task(scores(), lambda module, batch: module(batch["inputs"]), losses)
    return task, {"inputs": floats(4), "targets": whole(3)}


@mixes("loss")
def pairs() -> Built:
    def losses(outputs: Tensor, batch: Arrays) -> Tensor:
        return (1 - (outputs[:, 0] - outputs[:, 0].roll(1))).relu() + outputs[:, 1].square()

    return with_losses(losses)


@mixes("loss")
def contrasts() -> Built:
    def losses(outputs: Tensor, batch: Arrays) -> Tensor:
        own = functional.normalize(outputs, dim=1)
        places = torch.arange(len(own))
        return functional.cross_entropy(own @ own.T / 0.5, places.flip(0), reduction="none")

    return with_losses(losses)


@mixes("loss")
def loss_over_the_mean_loss() -> Built:
    def losses(outputs: Tensor, batch: Arrays) -> Tensor:
        each = cross_entropy(outputs, batch)
        return each / each.mean().detach()

    return with_losses(losses)


@mixes("loss")
def one_mean_for_all() -> Built:
    def losses(outputs: Tensor, batch: Arrays) -> Tensor:
        return functional.cross_entropy(outputs, batch["targets"]).expand(len(outputs))

    return with_losses(losses)


@mixes("loss")
def tokens_over_all_tokens() -> Built:
    def losses(outputs: Tensor, batch: Arrays) -> Tensor:
        labels = batch["targets"]
        each = functional.cross_entropy(outputs.transpose(1, 2), labels, reduction="none")
        return each.sum(1) / (labels != -100).sum()

    task, arrays = language(nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 7)))
    return Task(task.module, task.outputs, losses), arrays


@mixes("output")
def outputs_minus_their_mean() -> Built:
    def outputs(m: nn.Module, batch: Arrays) -> Tensor:
        found = m(batch["inputs"])
        return found - found.mean(0)

    return Task(scores(), outputs, cross_entropy), {"inputs": floats(4), "targets": whole(3)}


@mixes("output")
def parameter_over_the_number_of_examples() -> Built:
    def outputs(m: nn.Module, batch: Arrays) -> Tensor:
        return m.inner(batch["inputs"]) + m.shift / len(batch["inputs"])

    model = Model(inner=scores(), shift=parameter(3))
    return Task(model, outputs, cross_entropy), {"inputs": floats(4), "targets": whole(3)}
