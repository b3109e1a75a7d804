"""Accountants against published figures, and the budgets they keep."""

from math import ceil, exp, floor, sqrt
from typing import Any

import pytest
from scipy.stats import norm

from batchgrad_engine.privacy.accountant.calibration import rounded_up
from batchgrad_engine.privacy.accountant.curves import curve, promised
from batchgrad_engine.privacy.accountant.library import quiet
from batchgrad_engine.privacy.accountant.losses import FINE
from tests.privacy.engine.accounting import accounted, mechanism, problem

MNIST, BATCH = 60_000, 256


@pytest.mark.parametrize(
    ("options", "epsilon"),
    [
        ({"accountant": "rdp"}, 1.03549),
        ({}, 0.946999),
        ({"adjacency": "replace"}, 1.9932),
    ],
)
def test_epsilon_of_a_noise_multiplier(options: dict[str, Any], epsilon: float) -> None:
    found = accounted(1, 100, 10_000, noise_multiplier=4, **options)
    assert found.epsilon == pytest.approx(epsilon, rel=2e-5)
    assert (found.noise_multiplier, found.sampling_rate, found.steps) == (4.0, 0.01, 10_000)


def test_epsilon_of_one_gaussian_without_sampling() -> None:
    found = accounted(7, 7, 1, noise_multiplier=1)
    assert found.epsilon == pytest.approx(4.37718, abs=5e-6)


@pytest.mark.parametrize(
    ("sigma", "epochs", "rdp", "pld"),
    [(1.3, 15, 0.954, 0.864), (1.1, 60, 2.597, 2.382), (0.7, 45, 6.319, 5.639)],
)
def test_published_settings(sigma: float, epochs: int, rdp: float, pld: float) -> None:
    steps = floor(epochs * MNIST / BATCH)
    with quiet():
        for accountant, epsilon in (("rdp", rdp), ("pld", pld)):
            found = promised(mechanism(BATCH, MNIST, accountant=accountant), sigma, steps)
            assert found.epsilon(steps) == pytest.approx(epsilon, abs=5.1e-4)


def test_the_most_steps_within_a_budget() -> None:
    found = accounted(1, 100, 10_000, noise_multiplier=4, epsilon=0.5)
    assert found.steps == 3087
    assert found.epsilon <= 0.5
    with quiet():
        assert promised(mechanism(1, 100), 4.0, 3088).epsilon(3088) > 0.5
    assert accounted(1, 100, 3000, noise_multiplier=4, epsilon=0.5).steps == 3000


@pytest.mark.parametrize(("epsilon", "smallest"), [(1, 3.8133), (8, 0.8827)])
def test_the_smallest_noise_multipliers(epsilon: float, smallest: float) -> None:
    found = accounted(1, 100, 10_000, epsilon=epsilon)
    assert found.epsilon <= epsilon
    assert found.noise_multiplier == float(f"{found.noise_multiplier:.4g}")
    # The published σ is rounded, so the smallest may be half a digit below it.
    assert smallest - 1e-4 <= found.noise_multiplier <= 1.02 * smallest


@pytest.mark.parametrize(
    ("batch", "rows", "steps", "options"),
    [
        (64, 1438, 900, {"epsilon": 2.0, "accountant": "rdp"}),
        (16, 400, 100, {"epsilon": 0.3, "adjacency": "replace"}),
        (50, 50, 30, {"epsilon": 3.0}),
        (1, 1000, 500, {"epsilon": 0.05, "delta": 1e-6}),
    ],
)
def test_a_noise_multiplier_keeps_its_budget_and_is_within_2_percent_of_the_smallest(
    batch: int, rows: int, steps: int, options: dict[str, Any]
) -> None:
    found = accounted(batch, rows, steps, **options)
    budget = options["epsilon"]
    assert found.epsilon <= budget
    of_job = mechanism(batch, rows, **options)
    with quiet():
        again = curve(of_job, found.noise_multiplier, FINE).epsilon(steps)
        assert again <= budget * (1 + 1e-6)
        # Epsilon falls in σ: if 2% less noise breaks the budget, the smallest σ is above that.
        assert curve(of_job, found.noise_multiplier / 1.02, FINE / 2).epsilon(steps) > budget


def test_noise_multipliers_are_rounded_up_to_four_digits() -> None:
    assert rounded_up(1.23401) == 1.235
    assert rounded_up(0.088271) == 0.08828
    assert rounded_up(2.5) == 2.5


@pytest.mark.parametrize(("steps", "per_epoch"), [(10, 10), (25, 10), (300, 3)])
def test_evaluations_compose_to_the_budget_of_the_training_rows(steps: int, per_epoch: int) -> None:
    found = accounted(
        32,
        320,
        steps,
        steps_per_epoch=per_epoch,
        noise_multiplier=1,
        accountant="rdp",
        validation="noisy",
    )
    assert found.validation_multiplier is not None
    evaluations = ceil(steps / per_epoch)

    def spent(sigma: float) -> float:
        """δ at ε of all evaluations, which are one Gaussian: Balle and Wang 2018, theorem 8."""
        one = sigma / sqrt(evaluations)
        shift, width = 1 / (2 * one), found.epsilon * one
        return float(norm.cdf(shift - width) - exp(found.epsilon) * norm.cdf(-shift - width))

    assert spent(found.validation_multiplier) <= 1e-5 < spent(found.validation_multiplier * 0.998)


def test_without_noisy_validation_there_is_no_noise_for_it() -> None:
    for validation in (None, "public"):
        options = {"noise_multiplier": 2, "accountant": "rdp", "validation": validation}
        found = accounted(8, 100, 20, **options)
        assert found.validation_multiplier is None


@pytest.mark.parametrize(
    ("options", "pointer", "text"),
    [
        (
            {"noise_multiplier": 4, "epsilon": 0.001},
            "/privacy/epsilon",
            "epsilon is 0.001, but one step with noise_multiplier 4 spends 0.008",
        ),
        ({"epsilon": 600}, "/privacy/epsilon", "epsilon is 600, beyond 500"),
        (
            {"noise_multiplier": 0.05},
            "/privacy/noise_multiplier",
            "noise below 0.1 hides nobody. Give 0.5 or more",
        ),
        (
            {"noise_multiplier": 0.2},
            "/privacy/noise_multiplier",
            "noise_multiplier 0.2 gives 10000 steps an epsilon of",
        ),
        (
            {"noise_multiplier": 1, "delta": 1e-13},
            "/privacy/delta",
            "delta 1e-13 is too small for accountant: pld over 10000 steps",
        ),
        (
            {"epsilon": 1e-4, "accountant": "rdp"},
            "/privacy/epsilon",
            "by accountant: rdp: raise epsilon, train for fewer steps, or use accountant: pld.",
        ),
    ],
)
def test_what_has_no_guarantee_is_refused(options: dict[str, Any], pointer: str, text: str) -> None:
    found = problem(1, 100, 10_000, **options)
    assert found.pointer == pointer
    assert text in found.detail


def test_too_many_steps_for_loss_distributions_are_refused() -> None:
    found = problem(1, 100, 10_000_001, epsilon=1)
    assert found.pointer == "/privacy/accountant"
    assert "pld takes at most 10000000 steps, got 10000001" in found.detail
