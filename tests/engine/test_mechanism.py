"""The noise of a private step: its grid, its size, what rounding adds, the quantile's clip norm."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from typing import Any

import numpy as np
import pytest

from batchgrad.contract import Privacy
from batchgrad_engine.privacy.mechanism import QUANTILE_RATE, Mechanism, noisy_count, rounding
from batchgrad_workers.reduction.sums import GradientSums
from batchgrad_workers.runtime.threads import ThreadPool

P = 4000


@contextmanager
def mechanism(sigma: float = 2.0, rounding: float = 1.0, **privacy: Any) -> Iterator[Mechanism]:
    own = {"delta": 1e-5, "noise_multiplier": sigma, "clip_norm": 0.5, **privacy}
    with ThreadPool(2) as pool:
        made = Mechanism(
            Privacy.model_validate(own),
            noise_multiplier=sigma,
            keys=lambda purpose: sha256(purpose.encode()).digest(),
            size=P,
            batch_size=100,
            units=100.0,
            rounding=rounding,
            pool=pool,
        )
        with closing(made):
            yield made


def sums(gradient: Any = 0.0, loss: float = 0.0, unclipped: float = 0.0) -> GradientSums:
    none = np.empty(0)
    return GradientSums(np.full(P, gradient), np.array([loss, unclipped, 0.0]), none, none)


def released(made: Mechanism, step: int, of: GradientSums, drawn: int = 100) -> Any:
    made.draw(step)
    return made.release(step, of, drawn)


def test_noise_is_put_on_the_sum_which_a_constant_divides() -> None:
    with mechanism() as made:
        alone = released(made, 0, sums()).gradient
        assert alone.std() == pytest.approx(2.0 * 0.5 / 100, rel=0.05)
        # of the size of the minibatch that was drawn, only the sum knows
        few = released(made, 0, sums(3.0), drawn=1).gradient
        assert few - alone == pytest.approx(3.0 / 100, rel=1e-6)


def test_noise_is_larger_by_what_rounding_adds() -> None:
    with mechanism() as exact, mechanism(rounding=1.5) as rounded:
        alone, larger = (released(made, 0, sums()).gradient for made in (exact, rounded))
    assert larger == pytest.approx(1.5 * alone, rel=1e-12)


def test_the_count_behind_a_quantile_has_the_noise_that_is_accounted_for() -> None:
    """The multiplier 10 σ, of a count that a unit changes by ½, among 100 units."""
    moved = []
    with mechanism(clipping="quantile") as made:
        for step in range(300):
            before = made.clip_norm
            released(made, step, sums(unclipped=50.0))
            moved.append(np.log(made.clip_norm / before) / -QUANTILE_RATE)
    assert np.std(moved) == pytest.approx(2.0 * 10 * 0.5 / 100, rel=4 / np.sqrt(2 * 300))


def test_released_numbers_lie_on_the_grid() -> None:
    grain = 2.0 * 0.5 * 2.0**-30 / 100
    with mechanism() as made:
        whole = released(made, 3, sums(0.123456789)).gradient / grain
    assert np.abs(whole - np.rint(whole)).max() < 1e-3  # in float64, of numbers around 2^30


def test_each_step_has_noise_of_its_own() -> None:
    with mechanism() as made:
        first, second = (released(made, step, sums()).gradient for step in (0, 1))
        assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(P)
        assert (released(made, 0, sums()).gradient == first).all()


def test_a_reported_loss_and_a_quantile_leave_the_gradient_more_noise() -> None:
    with mechanism(report={"loss_bound": 3.0, "share": 2.0}) as made:
        found = released(made, 0, sums(loss=150.0))
        assert found.gradient.std() == pytest.approx(2.0 * 0.5 / 100 / np.sqrt(0.75), rel=0.05)
        losses = [released(made, step, sums(loss=150.0)).loss for step in range(300)]
    assert np.mean(losses) == pytest.approx(1.5, abs=4 * 0.12 / np.sqrt(300))
    assert np.std(losses) == pytest.approx(2 * 2.0 * 3.0 / 100, rel=0.2)


def test_the_clip_norm_follows_the_quantile() -> None:
    with mechanism(sigma=0.5, clipping="quantile") as made:
        for step in range(5):
            released(made, step, sums(unclipped=100.0))  # all are shorter than C
        low = made.clip_norm
        assert low == pytest.approx(0.5 * np.exp(-0.2 * 0.5 * 5), rel=0.15)
        for step in range(5, 15):
            released(made, step, sums(unclipped=0.0))
        assert made.clip_norm == pytest.approx(low * np.exp(0.2 * 0.5 * 10), rel=0.2)


def test_noise_covers_the_rounding_of_large_sums() -> None:
    assert rounding(256, 2, "float32") == pytest.approx(1 + 2**-8, rel=1e-4)
    assert rounding(2**20, 2**13, "float64") == pytest.approx(1 + 2**-8, rel=1e-8)
    large = rounding(2**20, 2**13, "float32")
    random = np.random.default_rng(3)
    rows = random.uniform(1.05, 1.07, 2**20).astype(np.float32)
    whole = tree_sum(rows)
    ratios = []
    for row in range(20):
        without = rows.copy()
        without[row] = 0
        ratios.append(abs(whole - tree_sum(without)) / rows[row])
    assert max(ratios) > rounding(256, 2, "float32")  # so the constant alone would be too little
    assert max(ratios) < large


def tree_sum(rows: Any) -> float:
    while len(rows) > 1:
        rows = rows[::2] + rows[1::2]
    return float(rows[0])


def test_right_answers_have_the_noise_that_was_asked_for() -> None:
    key = bytes(range(32))
    found = [noisy_count(40, 3.0, key, step) for step in range(1000)]
    assert np.mean(found) == pytest.approx(40, abs=4 * 3 / np.sqrt(1000))
    assert np.std(found) == pytest.approx(3.0, rel=0.1)
