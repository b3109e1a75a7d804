"""The preflight's answers: forms of outputs and losses, random numbers, paths, memory."""

import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from batchgrad.torch.tasks import Task
from batchgrad_workers.torch.preflight.prepare import prepare
from batchgrad_workers.torch.refusal import Refused
from batchgrad_workers.torch.replica import Batch, Replica

Forward = Callable[[Any, Tensor], Any]
Losses = Callable[[Any, Mapping[str, Tensor]], Any]


def cross_entropy(outputs: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    return functional.cross_entropy(outputs, batch["targets"], reduction="none")


class Net(nn.Module):  # type: ignore[misc]
    def __init__(self, forward: Forward | None = None) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.head = nn.Linear(4, 5), nn.Linear(5, 3)
        self.function = forward

    def forward(self, inputs: Tensor) -> Any:
        if self.function is not None:
            return self.function(self, inputs)
        return self.head(torch.tanh(self.first(inputs)))


def rows(n: int = 6, *shape: int) -> Batch:
    numbers = torch.Generator().manual_seed(2)
    inputs = torch.randn(n, *(shape or (4,)), dtype=torch.float64, generator=numbers)
    return Batch({"inputs": inputs, "targets": torch.arange(n) % 3}, torch.ones(n))


def replica_of(
    module: nn.Module | None = None, losses: Losses = cross_entropy, dtype: Any = torch.float64
) -> Replica:
    own = Net() if module is None else module
    return Replica(Task(own, lambda m, batch: m(batch["inputs"]), losses), dtype)


def refusal(replica: Replica, batch: Batch | None = None) -> str:
    with pytest.raises(Refused) as caught:
        prepare(replica, rows() if batch is None else batch)
    return str(caught.value)


MEAN = "one loss for each example, not their mean. Use reduction='none'"

FORMS: dict[str, tuple[Losses, str]] = {
    "a mean": (
        lambda outputs, batch: functional.cross_entropy(outputs, batch["targets"]),
        f"losses have shape [] for 6 examples; expected [6]: {MEAN}",
    ),
    "a column": (lambda outputs, _: outputs[:, :1], "shape [6, 1] for 6 examples"),
    "to squeeze": (lambda outputs, _: outputs[:, :1], "expected [6]: losses.squeeze(1)"),
    "by class": (lambda outputs, _: outputs.square(), "or sum, losses.flatten(1).mean(1)"),
    "flat": (lambda outputs, _: outputs.flatten(), "losses.view(6, -1).mean(1)"),
    "of others": (lambda outputs, _: outputs[:4, 0], "shape [4] for 6 examples"),
    "no tensor": (lambda outputs, _: outputs.tolist(), "losses are of type list"),
    "half": (lambda outputs, _: outputs[:, 0].bfloat16(), "losses are bfloat16; expected float32"),
    "whole": (lambda outputs, _: outputs.argmax(1), "losses are int64"),
    "detached": (lambda outputs, _: outputs[:, 0].detach(), "do not depend on any trainable"),
}


@pytest.mark.parametrize(("losses", "words"), FORMS.values(), ids=FORMS)
def test_losses_of_another_form_are_refused(losses: Losses, words: str) -> None:
    assert words in refusal(replica_of(losses=losses))


OUTPUTS: dict[str, tuple[Forward, str]] = {
    "a dictionary": (lambda m, x: {"scores": m.head(m.first(x))}, "outputs are of type dict"),
    "time first": (lambda m, x: m.head(m.first(x))[None], "outputs have shape [1, 6, 3]"),
    "one number": (lambda m, x: m.head(m.first(x)).sum(), "outputs have shape []"),
    "squeezed": (
        lambda m, x: m.head(m.first(x)).squeeze(),
        "With 1 of 6 examples: The task's outputs have shape [3] for 1 examples; expected [1, …]",
    ),
    "wrong width": (
        lambda m, x: m.head(x),
        "failed in module head: RuntimeError: mat1 and mat2 shapes cannot be multiplied",
    ),
}


@pytest.mark.parametrize(("forward", "words"), OUTPUTS.values(), ids=OUTPUTS)
def test_outputs_of_another_form_are_refused(forward: Forward, words: str) -> None:
    assert words in refusal(replica_of(Net(forward)))


def test_a_failure_says_what_the_batch_held() -> None:
    batch = rows()
    batch.arrays["inputs"] = batch.arrays["inputs"].long()
    words = refusal(replica_of(), batch)
    assert "in module first" in words
    assert "The batch has inputs [6, 4] int64, targets [6] int64." in words


def test_a_module_without_trainable_parameters_is_refused() -> None:
    words = refusal(replica_of(Net().requires_grad_(requires_grad=False)))
    assert "no trainable parameter: 4 parameters, none of which requires" in words


def test_losses_that_are_not_finite_are_refused_by_row() -> None:
    batch = rows()
    batch.arrays["inputs"][3, 1] = torch.nan
    assert "The losses of rows [3] are nan at the initial parameters" in refusal(
        replica_of(), batch
    )


def test_few_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="needs 4 rows or more; got 3"):
        prepare(replica_of(), rows(3))


RANDOM: dict[str, tuple[Forward, str]] = {
    "randn": (
        lambda m, x: m.head(m.first(x) * torch.randn(len(x), 1)),
        "randn in the whole",
    ),
    "randn_like": (lambda m, x: m.head(m.first(x + torch.randn_like(x))), "randn_like in"),
    "bernoulli": (
        lambda m, x: m.head(m.first(x) * torch.bernoulli(torch.full((len(x), 1), 0.5))),
        "bernoulli in the whole module",
    ),
    "normal_": (lambda m, x: m.head(m.first(x) + x.new_empty(5).normal_()), "normal_ in"),
    "rrelu": (lambda m, x: m.head(functional.rrelu(m.first(x), training=True)), "rrelu"),
    "gumbel": (lambda m, x: functional.gumbel_softmax(m.head(m.first(x))), "exponential_ in"),
    "multinomial": (
        lambda m, x: m.head(m.first(x)) + m.head.weight[:, 0][x.softmax(1).multinomial(1) % 3],
        "multinomial in",
    ),
}


@pytest.mark.parametrize(("forward", "words"), RANDOM.values(), ids=RANDOM)
def test_draws_from_the_global_generator_are_refused(forward: Forward, words: str) -> None:
    state = torch.get_rng_state()
    found = refusal(replica_of(Net(forward)))
    torch.set_rng_state(state)
    assert f"global generator: {words}" in found
    assert "x * dropout(x.new_ones(len(x), 1), p) is stochastic depth" in found


def test_draws_in_an_evaluation_are_refused() -> None:
    net = Net(lambda m, x: m.head(m.first(x) * (1.0 if m.training else torch.rand(len(x), 1))))
    words = refusal(replica_of(net))
    assert "The forward pass of an evaluation draws from torch's global generator: rand in" in words


def test_draws_of_python_and_numpy_are_refused() -> None:
    numbers = np.random.default_rng(1)
    for draw in (random.random, numbers.random):
        net = Net(lambda m, x, draw=draw: m.head(m.first(x) * draw()))  # type: ignore[misc]
        words = "Module itself gives other numbers for the same batch a second time"
        assert words in refusal(replica_of(net))


def test_dropout_passes_with_the_axes_of_its_masks() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        h = functional.dropout(m.first(x.transpose(0, 1)), 0.3)  # (12, n, 5)
        return m.head(functional.dropout(h.transpose(0, 1), 0.3).mean(1))

    found = prepare(replica_of(Net(forward)), rows(6, 12, 4))
    assert found.path == "together"
    assert found.random == ("dropout",)
    assert found.axes == (1, 0)


DEPTH: dict[str, Forward] = {
    "dropout": lambda _, x: functional.dropout(x.new_ones(len(x), 1), 0.5),
    "rand": lambda _, x: (0.5 + torch.rand((len(x), 1), dtype=x.dtype)).floor_() / 0.5,
    "bernoulli_": lambda _, x: x.new_empty(len(x), 1).bernoulli_(0.5).div_(0.5),
}


@pytest.mark.parametrize("depth", DEPTH.values(), ids=DEPTH)
def test_stochastic_depth_passes(depth: Forward) -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.head(m.first(x) * depth(m, x) if m.training else m.first(x))

    found = prepare(replica_of(Net(forward)), rows())
    assert found.path == "together"
    assert len(found.random) == 1


def test_a_mask_that_examples_share_is_refused() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        return functional.linear(x, functional.dropout(m.first.weight, 0.3))[:, :3]

    assert "dropout draws [5, 4] numbers that all examples share" in refusal(
        replica_of(Net(forward))
    )


def test_dropout_in_an_rnn_is_refused_by_name() -> None:
    net = Net(lambda m, x: m.head(m.rnn(x)[0][:, -1]))
    net.rnn = nn.LSTM(4, 5, num_layers=2, dropout=0.2, batch_first=True)
    words = refusal(replica_of(net), rows(6, 7, 4))
    assert "LSTM(dropout=0.2)" in words
    assert "in module rnn" in words


def test_dropout_in_a_checkpointed_part_is_refused() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.head(checkpoint(lambda x: functional.dropout(m.first(x)), x, use_reentrant=False))

    assert "activation checkpointing" in refusal(replica_of(Net(forward)))


def test_batch_norm_with_fixed_statistics_passes() -> None:
    net = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5).eval(), nn.Linear(5, 3))
    assert prepare(replica_of(net), rows()).path == "together"


def test_gradients_that_mix_where_losses_do_not_are_refused() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        h = m.first(x)
        return m.head(h + (h.mean(0) - h.mean(0).detach()))

    assert "the backward pass mixes examples" in refusal(replica_of(Net(forward)))


def test_what_two_gates_of_zero_hide_is_refused() -> None:
    """At these parameters neither losses nor gradients mix."""
    net = Net(lambda m, x: m.head(m.first(x) + m.one * m.two * m.first(x).mean(0)))
    net.one, net.two = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    assert "itself (Net) mixes examples" in refusal(replica_of(net))


def test_what_mixes_at_large_numbers_alone_is_refused() -> None:
    net = Net(lambda m, x: m.head(m.first(x) - functional.relu(x.max() - 5)))
    assert float(rows().arrays["inputs"].max()) < 5
    assert "mixes examples" in refusal(replica_of(net))


def test_what_mixes_less_than_rounding_shows_is_refused() -> None:
    net = Net(lambda m, x: m.head(m.first(x) + 1e-10 * m.first(x).mean(0)))
    assert "mixes examples" in refusal(replica_of(net))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_record_says_what_was_found(dtype: Any) -> None:
    batch = rows(20)
    batch.arrays["inputs"] = batch.arrays["inputs"].to(dtype)
    net = Net()
    net.head.bias.requires_grad_(requires_grad=False)
    found = prepare(replica_of(net, dtype=dtype), batch)
    assert found.path == "together"
    assert [(each.name, each.shape, each.trainable) for each in found.parameters] == [
        ("first.weight", (5, 4), True),
        ("first.bias", (5,), True),
        ("head.weight", (3, 5), True),
        ("head.bias", (3,), False),
    ]
    width = 8 if dtype == torch.float64 else 4
    assert found.bytes_per_example >= 8 * width  # tanh's 5 outputs and log_softmax's 3 at least
    assert found.memory_bytes(100) - found.memory_bytes(50) == 50 * found.bytes_per_example
    assert found.fixed_bytes >= 40 * width
    assert found.warnings == ()


def test_a_preflight_does_not_import_the_compiler() -> None:
    code = """
import sys, torch
from batchgrad.torch import classification
from batchgrad_workers.torch.preflight.prepare import prepare
from batchgrad_workers.torch.replica import Batch, Replica
batch = {"inputs": torch.randn(8, 3), "targets": torch.arange(8) % 2}
prepare(Replica(classification(torch.nn.Linear(3, 2))), Batch(batch, torch.ones(8), None))
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "False\n", done.stderr
