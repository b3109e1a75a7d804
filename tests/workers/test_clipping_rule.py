"""What a unit adds to the totals of a private sum: its loss within 0 … L, and at most one count."""

import numpy as np
import pytest

from batchgrad_workers.reduction.clipping import (
    CLIPPED_LOSS,
    UNCLIPPED,
    ClippingRule,
    PrivateRows,
    totals,
)

RULE = ClippingRule("flat", clip_norm=1.0, loss_bound=2.0)


@pytest.mark.parametrize(
    ("loss", "counts"), [(-5e9, 0.0), (0.5, 0.5), (7e9, 2.0), (np.nan, 0.0), (np.inf, 2.0)]
)
def test_a_loss_counts_from_0_to_its_bound(loss: float, counts: float) -> None:
    rows = PrivateRows(np.array([3.0]))
    found = totals(RULE, rows, np.array([loss]), np.array([0.5]))
    assert (found[CLIPPED_LOSS], found[UNCLIPPED]) == (counts, 1.0)


def test_all_rows_of_a_unit_count_up_to_one_bound() -> None:
    rows = PrivateRows(np.ones(5), starts=np.array([0, 3]))
    losses = np.array([1.5, -9.0, 1.5, 0.25, 0.25])
    found = totals(RULE, rows, losses, np.array([0.5, 1.5]))
    assert (found[CLIPPED_LOSS], found[UNCLIPPED]) == (2.0 + 0.5, 1.0)


@pytest.mark.parametrize("norm", [np.inf, np.nan])
def test_a_unit_that_is_not_finite_counts_for_nothing(norm: float) -> None:
    rows = PrivateRows(np.ones(1))
    found = totals(RULE, rows, np.array([1.0]), np.array([norm]))
    assert (found[CLIPPED_LOSS], found[UNCLIPPED]) == (0.0, 0.0)
    assert not RULE.factors(np.array([[norm]])).any()


def test_layers_share_the_bound_and_one_that_is_not_finite_counts_for_none() -> None:
    rule = ClippingRule("per_layer", clip_norm=1.0)
    norms = np.array([[3.0, 4.0], [3.0, np.inf]])
    kept = rule.factors(norms)
    assert np.linalg.norm(kept[0] * norms[0]) <= 1.0 + 1e-15
    assert not kept[1].any()
