"""The definition of g_n: a sum of weighted gradients, each by plain autograd."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from batchgrad.torch.tasks import Task
from batchgrad_workers.torch import one_by_one
from batchgrad_workers.torch.replica import Batch, Replica
from tests.torch.small_batches import labelled


def cross_entropy(outputs: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    return functional.cross_entropy(outputs, batch["targets"], reduction="none")


def replica_of(module: nn.Module) -> Replica:
    task = Task(module, lambda module, batch: module(batch["inputs"]), cross_entropy)
    return Replica(task, torch.float64)


@pytest.fixture
def replica() -> Replica:
    torch.manual_seed(1)
    return replica_of(nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.LayerNorm(7), nn.Linear(7, 3)))


@pytest.fixture
def batch() -> Batch:
    return labelled()


def test_the_sum_is_the_gradient_of_the_weighted_losses(replica: Replica, batch: Batch) -> None:
    found = one_by_one.sums(replica, batch)
    losses = replica.losses(batch)
    expected = torch.autograd.grad((batch.weights * losses).sum(), list(replica.trainable.values()))
    for own, whole in zip(found.gradients.values(), expected, strict=True):
        torch.testing.assert_close(own, whole, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(found.losses, losses.detach(), rtol=1e-12, atol=1e-14)


def test_norms_are_of_single_gradients(replica: Replica, batch: Batch) -> None:
    found, each = one_by_one.sums(replica, batch), one_by_one.each(replica, batch)
    flat = torch.cat([rows.flatten(1) for rows in each.values()], 1)
    torch.testing.assert_close(found.norms, flat.norm(dim=1), rtol=1e-12, atol=0)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_norms_hold_where_squares_leave_the_range(scale: float) -> None:
    first = torch.tensor([3 * scale, 0.0], dtype=torch.float64)
    second = torch.tensor([4 * scale], dtype=torch.float64)
    length = one_by_one.norm({"first": first, "second": second})
    assert float(length) == pytest.approx(5 * scale, rel=1e-12)


def test_a_parameter_without_use_has_gradient_zero(batch: Batch) -> None:
    module = nn.Sequential(nn.Linear(5, 3))
    module.register_parameter("spare", nn.Parameter(torch.ones(2)))
    replica = replica_of(module)
    assert one_by_one.sums(replica, batch).gradients["spare"].tolist() == [0.0, 0.0]
