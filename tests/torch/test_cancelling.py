"""No row adds more than C, however its terms cancel, and ordinary rows are not cut too short."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from batchgrad.torch.tasks import Task
from batchgrad_workers.reduction.clipping import ClippingRule, PrivateRows
from batchgrad_workers.torch import together
from batchgrad_workers.torch.clipping import Clipper
from batchgrad_workers.torch.preflight.rows import taken
from batchgrad_workers.torch.replica import Batch, Replica
from batchgrad_workers.torch.trainable import layout_of
from tests.torch.cancelling import POSITIONS, N
from tests.torch.clipped import by_definition, gradients
from tests.torch.zoo.case import squares

MOST = 1 + 2**-8


def ones(n: int, starts: list[int] | None = None) -> PrivateRows:
    return PrivateRows(np.ones(n), None if starts is None else np.array(starts))


@pytest.mark.parametrize("clip", [1.0, 1e-2])
@pytest.mark.parametrize("size", [1.0, 1e2, 1e3, 1e4, 1e5, 1e6])
@pytest.mark.parametrize("name", POSITIONS)
def test_a_row_whose_terms_cancel_adds_no_more_than_it_may(
    name: str, size: float, clip: float
) -> None:
    replica, made = POSITIONS[name].made()
    trace = together.trace(replica, made(1.0))
    batch, rest = made(size), list(range(1, N))
    clipper = Clipper(trace, layout_of(replica), ClippingRule("flat", clip))
    alone = clipper.sums(replica, batch.row(0), ones(1)).gradient.double()
    assert float(alone.norm()) <= clip * MOST
    others = clipper.sums(replica, taken(batch, rest), ones(N - 1)).gradient.double()
    for order in ([0, *rest], [*rest, 0], [3, 0, 1, 2, 4, 5]):
        whole = clipper.sums(replica, taken(batch, order), ones(N)).gradient.double()
        assert float((whole - others).norm()) <= clip * MOST
    unit = clipper.sums(replica, taken(batch, [0, 1, 0]), ones(3, [0])).gradient.double()
    assert float(unit.norm()) <= clip * MOST


@pytest.mark.parametrize("name", POSITIONS)
def test_ordinary_rows_are_cut_to_c_and_hardly_below(name: str) -> None:
    replica, made = POSITIONS[name].made()
    batch = made(1.0)
    trace = together.trace(replica, batch)
    each = gradients(replica.exact(torch.float64), made_double(batch))
    rows, rule = ones(N - 1), ClippingRule("flat", 0.1)
    found = Clipper(trace, layout_of(replica), rule).sums(
        replica, taken(batch, list(range(1, N))), rows
    )
    expected, _ = by_definition(layout_of(replica), each[1:], rows, rule)
    apart = np.linalg.norm(found.gradient.double().numpy() - expected)
    assert apart <= 0.02 * np.linalg.norm(expected)


def made_double(batch: Batch) -> Batch:
    arrays = {name: x.double() if x.is_floating_point() else x for name, x in batch.arrays.items()}
    return Batch(arrays, batch.weights.double())


class Elsewhere(nn.Module):  # type: ignore[misc]
    """Calls another layer, which only rows with a large first number get anything from."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.other = nn.Linear(64, 64), nn.Linear(64, 64)

    def forward(self, inputs: Tensor) -> Tensor:
        large = inputs[:, :1, :1] > 50
        h = self.first(inputs)
        return h + large * self.other(inputs) if bool(large.any()) else h


def test_a_row_that_makes_other_calls_moves_the_others_by_nothing() -> None:
    """The others' terms cancel: a norm of their formed gradients would be far below the bound."""
    torch.manual_seed(5)
    replica = Replica(Task(Elsewhere(), lambda module, batch: module(batch["inputs"]), squares))
    inputs = torch.randn(N, 1, 64).expand(N, 4, 64).clone()
    targets = replica.module(inputs).detach()
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0])[:, None]
    targets += 1e6 * signs * torch.randn(N, 1, 64)
    inputs[-1, 0, 0] = 60
    batch = Batch({"inputs": inputs, "targets": targets}, torch.ones(N))
    rest = list(range(N - 1))
    trace = together.trace(replica, taken(batch, rest))
    clipper = Clipper(trace, layout_of(replica), ClippingRule("flat", 1e-2))
    others = clipper.sums(replica, taken(batch, rest), ones(N - 1)).gradient.double()
    whole = clipper.sums(replica, batch, ones(N)).gradient.double()
    assert float((whole - others).norm()) <= 1e-2 * MOST
