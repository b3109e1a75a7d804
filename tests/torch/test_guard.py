"""Checks on live data: rows that begin to mix, formulas that fail, other calls."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from batchgrad.torch.tasks import Task
from batchgrad_workers.torch import together
from batchgrad_workers.torch.preflight import guard
from batchgrad_workers.torch.preflight.prepare import prepare
from batchgrad_workers.torch.refusal import Refused
from batchgrad_workers.torch.replica import Batch, Replica
from batchgrad_workers.torch.tapping.calls import Trace


class Net(nn.Module):  # type: ignore[misc]
    """Reaches `special` only if `kind` says so, which the preflight's rows never do."""

    def __init__(self, special: Any) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.head = nn.Linear(4, 5), nn.Linear(5, 3)
        self.special, self.kind = special, 0

    def forward(self, inputs: Tensor) -> Tensor:
        h = torch.tanh(self.first(inputs))
        return self.head(self.special(self, h) if self.kind else h)


def made(special: Any) -> tuple[Replica, Batch]:
    def losses(outputs: Tensor, batch: Any) -> Tensor:
        return functional.cross_entropy(outputs, batch["targets"], reduction="none")

    task = Task(Net(special), lambda module, batch: module(batch["inputs"]), losses)
    random = torch.Generator().manual_seed(3)
    arrays = {
        "inputs": torch.randn(6, 4, dtype=torch.float64, generator=random),
        "targets": torch.arange(6) % 3,
    }
    return Replica(task, torch.float64), Batch(arrays, torch.rand(6, generator=random).double())


def traced(replica: Replica, batch: Batch) -> Trace:
    found = prepare(replica, batch)
    assert found.trace is not None
    return found.trace


def test_rows_that_stay_apart_pass_in_turn() -> None:
    replica, batch = made(None)
    trace = traced(replica, batch)
    for number in range(8):
        found = together.sums(replica, batch, trace)
        guard.check(replica, batch, found, number, rounds=False)
        row = batch.row(2)
        alone = together.sums(replica, row, trace)
        guard.check(replica, row, alone, number, rounds=False)


def test_rows_that_begin_to_mix_are_refused() -> None:
    replica, batch = made(lambda _, h: h - h.mean(0))
    trace = traced(replica, batch)
    replica.module.kind = 1
    found = together.sums(replica, batch, trace)
    with pytest.raises(Refused, match="With another example in row 4, the loss of row 0 is"):
        guard.check(replica, batch, found, 4, rounds=False)


def test_what_depends_on_the_number_of_examples_is_refused() -> None:
    replica, batch = made(lambda _, h: h / len(h))
    trace = traced(replica, batch)
    replica.module.kind = 1
    found = together.sums(replica, batch, trace)
    with pytest.raises(Refused, match=r"The loss of row 1 is .* in its microbatch of 6 and"):
        guard.check(replica, batch, found, 1, rounds=False)


def test_gradients_that_mix_are_refused_by_their_norms() -> None:
    replica, batch = made(lambda _, h: h + (h.mean(0) - h.mean(0).detach()))
    trace = traced(replica, batch)
    replica.module.kind = 1
    found = together.sums(replica, batch, trace)
    with pytest.raises(Refused, match="The norm of the gradient of row 0"):
        guard.check(replica, batch, found, 0, rounds=False)


def test_examples_that_are_treated_by_their_place_are_refused() -> None:
    replica, batch = made(lambda _, h: h * torch.where(torch.arange(len(h)) < 5, 1, 2)[:, None])
    trace = traced(replica, batch)
    replica.module.kind = 1
    found = together.sums(replica, batch, trace)
    with pytest.raises(Refused, match=r"The loss of row 5 is .* in row 0 of the same microbatch"):
        guard.check(replica, batch, found, 0, rounds=False)
