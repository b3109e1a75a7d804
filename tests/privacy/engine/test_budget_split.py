"""How a step's noise multiplier is split over the gradient, a count and a loss."""

from math import sqrt
from typing import Any

import pytest
from pydantic import ValidationError

from batchgrad.contract import Privacy
from batchgrad_engine.privacy.budget_split import (
    count_multiplier,
    gradient_multiplier,
    loss_multiplier,
)


def privacy(**options: Any) -> Privacy:
    return Privacy(**({"delta": 1e-5, "clip_norm": 1.0, "noise_multiplier": 2.0} | options))


@pytest.mark.parametrize(
    ("options", "more"),
    [
        ({}, 1.0),
        ({"report": {"loss_bound": 3.0}}, 1 / sqrt(0.99)),
        ({"report": {"loss_bound": 3.0, "share": 2.0}}, 1 / sqrt(0.75)),
        ({"clipping": "quantile"}, 1 / sqrt(0.99)),
        ({"clipping": "quantile", "report": {"loss_bound": 3.0}}, 1 / sqrt(0.98)),
    ],
)
def test_the_gradient_has_more_noise_where_others_are_released(
    options: dict[str, Any], more: float
) -> None:
    assert gradient_multiplier(privacy(**options), 2.0) == pytest.approx(2.0 * more, rel=1e-12)


def test_together_they_are_one_gaussian_of_the_whole_multiplier() -> None:
    of = privacy(clipping="quantile", report={"loss_bound": 1.0, "share": 3.0})
    parts = [gradient_multiplier(of, 1.3), count_multiplier(of, 1.3), loss_multiplier(of, 1.3)]
    assert sum(each**-2 for each in parts) == pytest.approx(1.3**-2, rel=1e-12)
    assert parts[1:] == [13.0, pytest.approx(3.9)]


def test_what_is_not_released_has_no_noise() -> None:
    with pytest.raises(TypeError, match="counts nothing"):
        count_multiplier(privacy(), 1.0)
    with pytest.raises(TypeError, match="no loss is reported"):
        loss_multiplier(privacy(), 1.0)


def test_shares_that_leave_nothing_for_the_gradient_are_refused() -> None:
    with pytest.raises(ValidationError, match="leave nothing for the gradient") as caught:
        privacy(clipping="quantile", report={"loss_bound": 1.0, "share": 1.004})
    assert caught.value.errors()[0]["loc"] == ("report",)
    kept = privacy(clipping="quantile", report={"loss_bound": 1.0, "share": 1.006})
    assert gradient_multiplier(kept, 1.0) > 10
    forged = kept.model_copy(update={"report": kept.report.model_copy(update={"share": 1.001})})  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="nothing is left"):
        gradient_multiplier(forged, 1.0)
