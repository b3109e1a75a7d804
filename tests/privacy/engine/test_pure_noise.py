"""On rows whose gradients are zero, parameters are noise with the deviation that was accounted for.

The deviation is that of the sum of gradients, over a constant N, once in a step.
"""

from itertools import pairwise
from math import log, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from batchgrad.contract.training.privacy import COUNT_SHARE
from batchgrad_engine.privacy.charges import charged
from batchgrad_engine.privacy.mechanism import QUANTILE_RATE
from tests.privacy.engine.pure_noise import (
    CLIP_NORM,
    MOST_ERRORS,
    ROWS,
    SIGMA,
    is_noise,
    noise_job,
    trained,
    zero_rows,
)


@pytest.fixture
def zeros(tmp_path: Path) -> Path:
    return zero_rows(tmp_path / "zeros")


@pytest.mark.parametrize(
    ("precision", "clipping"),
    [("float32", "flat"), ("float64", "flat"), ("float32", "automatic"), ("float32", "per_layer")],
)
def test_parameters_are_the_noise_of_every_step(
    zeros: Path, tmp_path: Path, precision: str, clipping: str
) -> None:
    """Minibatches have 9.6 rows on average and four microbatches; few have exactly 10."""
    job = noise_job({"clipping": clipping}, precision=precision, batch_size=10)
    moved, _ = trained(zeros, tmp_path / "job", job, 6)
    is_noise(moved, 6, 10, SIGMA)


def test_minibatches_that_are_empty_have_noise_and_are_charged(tmp_path: Path) -> None:
    """A minibatch of one row on average: three in eight are empty; none of 24 is once in 50,000."""
    moved, _ = trained(
        zero_rows(tmp_path / "short", inputs=300), tmp_path / "job", noise_job(batch_size=1), 24
    )
    is_noise(moved, 24, 1, SIGMA)
    assert charged(tmp_path / "job") == 24


@pytest.mark.parametrize("batch_size", [3, ROWS])
def test_microbatches_of_any_size_have_noise_and_a_charge_once(
    zeros: Path, tmp_path: Path, batch_size: int
) -> None:
    for microbatch_size in (1, batch_size):
        job = noise_job(batch_size=batch_size, microbatch_size=microbatch_size)
        moved, _ = trained(zeros, tmp_path / f"job-{microbatch_size}", job, 2)
        is_noise(moved, 2, batch_size, SIGMA)
        assert charged(tmp_path / f"job-{microbatch_size}") == 2


@pytest.mark.parametrize(
    ("privacy", "shares"),
    [
        ({"report": {"loss_bound": 1.0, "share": 1.5}}, [1.5]),
        ({"report": {"loss_bound": 1.0, "share": 3}, "clipping": "quantile"}, [3, 10]),
    ],
    ids=["report", "quantile"],
)
def test_what_is_released_besides_costs_the_gradient_noise(
    zeros: Path, tmp_path: Path, privacy: dict[str, Any], shares: list[float]
) -> None:
    """σ⁻² = σ_g⁻² + Σ (share σ)⁻²; one step, for C follows the quantile afterwards."""
    moved, _ = trained(zeros, tmp_path / "job", noise_job(privacy, batch_size=10), 1)
    is_noise(moved, 1, 10, SIGMA / sqrt(1 - sum(share**-2 for share in shares)))


def test_steps_have_independent_noise(zeros: Path, tmp_path: Path) -> None:
    moved = [np.zeros(1)] + [
        trained(zeros, tmp_path / f"{steps}", noise_job(batch_size=10), steps)[0]
        for steps in (1, 2, 3)
    ]
    one, two, three = (after - before for before, after in pairwise(moved))
    for each, other in ((one, two), (two, three), (one, three)):
        assert abs(np.corrcoef(each, other)[0, 1]) * sqrt(each.size) < MOST_ERRORS
    for lag in (1, 2, 16384, 65536):  # neither do numbers of one step repeat
        assert abs(np.corrcoef(one[lag:], one[:-lag])[0, 1]) * sqrt(one.size - lag) < MOST_ERRORS


def test_the_bound_that_follows_a_quantile_divides_by_a_constant(tmp_path: Path) -> None:
    """C falls by the part ½ + (n_t/2 + noise) / N, cut to 0 … 1, of n_t unclipped rows."""
    batch_size, sigma, steps = 2, 0.02, 600
    job = noise_job({"clipping": "quantile"}, batch_size=batch_size)
    _, snapshot = trained(
        zero_rows(tmp_path / "short", inputs=1),
        tmp_path / "job",
        job,
        steps,
        noise_multiplier=sigma,
    )
    mean_part = 0.5 - log(snapshot.progress["clip_norm"] / CLIP_NORM) / QUANTILE_RATE / steps
    sizes = np.arange(20)
    chances = stats.binom.pmf(sizes, ROWS, batch_size / ROWS)
    noise = COUNT_SHARE * sigma * 0.5 * stats.norm.ppf(np.linspace(0.0005, 0.9995, 1000))
    parts = np.clip(0.5 + (sizes[:, None] / 2 + noise) / batch_size, 0, 1)
    expected = chances @ parts.mean(axis=1)
    deviation = sqrt(chances @ np.square(parts - expected).mean(axis=1))
    assert abs(mean_part - expected) < MOST_ERRORS * deviation / sqrt(steps)
