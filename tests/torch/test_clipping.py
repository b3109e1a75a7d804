"""Clipped sums of every model of the zoo, by each rule, against one example at a time."""

from typing import Any

import numpy as np
import pytest

from batchgrad_workers.reduction.clipping import CLIPPED_LOSS, UNCLIPPED, ClippingRule, PrivateRows
from batchgrad_workers.torch import together
from batchgrad_workers.torch.clipping import Clipper
from batchgrad_workers.torch.preflight.rows import taken
from batchgrad_workers.torch.trainable import layout_of
from tests.torch.clipped import by_definition, gradients
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
            expected, unclipped = by_definition(replica, each, rows, rule)
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
