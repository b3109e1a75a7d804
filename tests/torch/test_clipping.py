"""Clipped sums of every model of the zoo, by each rule, against one example at a time."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from batchgrad.torch.tasks import Task
from batchgrad_workers.reduction.clipping import CLIPPED_LOSS, UNCLIPPED, ClippingRule, PrivateRows
from batchgrad_workers.torch import together
from batchgrad_workers.torch.clipping import Clipper
from batchgrad_workers.torch.preflight.rows import taken
from batchgrad_workers.torch.replica import Batch, Replica
from batchgrad_workers.torch.trainable import layout_of
from tests.torch.clipped import by_definition, gradients
from tests.torch.small_batches import labelled
from tests.torch.test_one_by_one import cross_entropy, replica_of
from tests.torch.zoo.case import WEIGHTS, Case
from tests.torch.zoo.everything import ALL

BOUND = 0.7
STARTS = np.array([0, 1, 4])
"""Units of one, three and two rows."""


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_models_of_the_zoo(case: Case) -> None:
    replica, batch = case.made()
    trace = None if case.looks_at_data else together.trace(replica, batch)
    each, losses = gradients(replica, batch), replica.losses(batch).detach().numpy()
    weights = np.array(WEIGHTS)
    limit = float(np.median(np.linalg.norm(each * weights[:, None], axis=1)))
    clippings: list[Any] = ["flat", "automatic", "per_layer", "quantile"]
    for clipping in clippings:
        for starts in (None, STARTS):
            rule, rows = ClippingRule(clipping, limit, BOUND), PrivateRows(weights, starts)
            found = Clipper(trace, layout_of(replica), rule).sums(replica, batch, rows)
            expected, unclipped = by_definition(layout_of(replica), each, rows, rule)
            size = max(limit, float(np.linalg.norm(expected)))
            np.testing.assert_allclose(found.gradient, expected, rtol=1e-7, atol=1e-9 * size)
            assert abs(found.totals[UNCLIPPED] - unclipped) <= 1  # the median is at C
            own = np.clip(losses, 0, BOUND)
            if starts is not None:
                own = np.minimum(np.add.reduceat(own, starts), BOUND)
            assert found.totals[CLIPPED_LOSS] == pytest.approx(own.sum(), rel=1e-9)


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_a_trace_holds_for_any_number_of_rows(case: Case) -> None:
    replica, batch = case.made()
    trace = None if case.looks_at_data else together.trace(replica, batch)
    limit = float(np.median(np.linalg.norm(gradients(replica, batch), axis=1)))
    clipper = Clipper(trace, layout_of(replica), ClippingRule("flat", limit))
    alone = [
        clipper.sums(replica, batch.row(n), PrivateRows(np.ones(1))).gradient.numpy()
        for n in range(len(batch))
    ]
    for chosen in ([0], [5], [2, 3], [0, 4, 5], [*range(6), *range(6), 1]):
        rows = taken(batch, chosen)
        found = clipper.sums(replica, rows, PrivateRows(np.ones(len(chosen))))
        np.testing.assert_allclose(
            found.gradient, sum(alone[n] for n in chosen), rtol=1e-7, atol=1e-8 * limit
        )


class Branching(nn.Module):  # type: ignore[misc]
    """Takes another way for rows of which one has a large first number."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        h = torch.tanh(self.first(inputs))
        return self.head(self.second(h) if bool((inputs[:, 0] > 50).any()) else h)


@pytest.mark.parametrize("starts", [None, STARTS])
def test_rows_that_make_other_calls_leave_the_others_as_they_were(starts: Any) -> None:
    torch.manual_seed(2)
    replica, batch = replica_of(Branching()), labelled()
    trace = together.trace(replica, batch)
    special = batch.arrays["inputs"].clone()
    special[2, 0] = 60
    mixed = Batch({**batch.arrays, "inputs": special}, batch.weights)
    rule, rows = ClippingRule("flat", 0.5), PrivateRows(np.ones(6), starts)
    found = Clipper(trace, layout_of(replica), rule).sums(replica, mixed, rows)
    expected, _ = by_definition(layout_of(replica), gradients(replica, mixed), rows, rule)
    np.testing.assert_allclose(found.gradient, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("clipping", ["flat", "per_layer"])
def test_sums_under_autocast_are_of_its_inputs_and_errors(clipping: Any) -> None:
    torch.manual_seed(3)
    module = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 3))
    task = Task(module, lambda module, batch: module(batch["inputs"]), cross_entropy)
    replica = Replica(task, torch.float32, "cpu", torch.bfloat16)
    batch = labelled()
    rows = Batch({**batch.arrays, "inputs": batch.arrays["inputs"].float()}, batch.weights.float())
    trace = together.trace(replica.exact(), rows)
    each = together.each(replica, rows, trace)
    flat = [each[slice_.name].reshape(6, slice_.size) for slice_ in layout_of(replica).slices]
    rule, units = ClippingRule(clipping, 0.2), PrivateRows(batch.weights.numpy())
    found = Clipper(trace, layout_of(replica), rule).sums(replica, rows, units)
    expected, _ = by_definition(
        layout_of(replica), torch.cat(flat, 1).double().numpy(), units, rule
    )
    np.testing.assert_allclose(found.gradient, expected, rtol=2e-4, atol=1e-6)


def test_weights_and_clip_norms_of_any_size_hold() -> None:
    torch.manual_seed(4)
    replica, batch = replica_of(nn.Linear(5, 3)), labelled()
    trace = together.trace(replica, batch)
    for clip in (1e-30, 1.0, 1e30):
        for weight in (1e-30, 1.0, 1e30):
            rows = PrivateRows(np.full(6, weight))
            rule = ClippingRule("flat", clip)
            clipper = Clipper(trace, layout_of(replica), rule)
            for n in range(6):
                own = PrivateRows(rows.weights[:1])
                found = clipper.sums(replica, batch.row(n), own).gradient
                assert float(found.norm()) <= clip * (1 + 2**-20)
            expected, _ = by_definition(layout_of(replica), gradients(replica, batch), rows, rule)
            found = clipper.sums(replica, batch, rows).gradient
            np.testing.assert_allclose(found, expected, rtol=1e-9)
