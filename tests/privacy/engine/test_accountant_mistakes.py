"""Mistakes that other accountants made: rounding, orders, grids, samples that are not Poisson."""

import json
import sys
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import pytest

from batchgrad_engine.privacy.accountant.curves import curve, promised
from batchgrad_engine.privacy.accountant.grid import grid
from batchgrad_engine.privacy.accountant.library import dp_accounting, quiet
from batchgrad_engine.privacy.accountant.losses import FINE, LossCurve, interval
from batchgrad_engine.privacy.accountant.messages import Answer
from batchgrad_engine.privacy.accountant.renyi import ORDERS, RenyiCurve
from batchgrad_service.one_answer import ask
from batchgrad_service.shutdown import Shutdown
from batchgrad_workers.data.split import Split
from batchgrad_workers.privacy.sampling import PoissonSampler
from tests.privacy.engine.accounting import accounted, mechanism, request


@pytest.mark.parametrize(
    ("batch", "rows", "sigma", "steps", "delta"),
    [
        (1, 100, 4.0, 10_000, 1e-5),
        (1, 1000, 100.0, 1_000_000, 1e-6),
        (1, 10_000, 1.0, 1_000_000, 1e-7),
        (1, 100, 0.3, 1000, 1e-5),
    ],
)
def test_loss_distributions_are_never_looser_than_divergences(
    batch: int, rows: int, sigma: float, steps: int, delta: float
) -> None:
    """A grid far coarser than the losses adds its rounding at each step: .35 instead of .037."""
    job = mechanism(batch, rows, delta=delta)
    with quiet():
        by_pld = promised(job, sigma, steps).epsilon(steps)
        by_rdp = RenyiCurve(job, sigma).epsilon(steps)
    assert 0.5 * by_rdp < by_pld <= by_rdp


def test_a_grid_is_finer_than_the_losses_and_holds_the_largest() -> None:
    job = mechanism(1, 1000)
    assert interval(job, 100.0, FINE) <= job.loss_deviation(100.0) / 10
    assert interval(job, 4.0, 1e-6) <= 1e-6
    assert job.largest_loss(0.1) / interval(job, 0.1, FINE) <= 400_000


def test_divergences_that_round_to_less_than_0_are_no_proof_of_epsilon_0() -> None:
    library = dp_accounting()
    job = mechanism(1, 10**6, delta=1e-12)
    one = library.rdp.RdpAccountant(ORDERS)
    one.compose(library.PoissonSampledDpEvent(job.q, library.GaussianDpEvent(3e4)))
    assert one.rdp.min() < 0, "the library has become exact: the guard can go"
    steps = 10**10
    with quiet():
        assert RenyiCurve(job, 3e4).epsilon(steps) > 0
        assert library.rdp.compute_epsilon(ORDERS, steps * one.rdp, 1e-12)[0] == 0


def test_many_steps_of_few_losses_take_no_integer_of_a_million_digits() -> None:
    """Of a sparse distribution of n losses the library first computes n^T."""
    with quiet():
        one = LossCurve(mechanism(1, 1000), 1e3, FINE)._one
    assert type(one._pmf_remove).__name__ == "DensePLDPmf"
    assert one._pmf_remove.size < 1000


def test_large_budgets_are_found_too() -> None:
    found = accounted(1, 20, 20, epsilon=150, accountant="rdp")
    assert 100 < found.epsilon <= 150
    with quiet():
        tighter = promised(mechanism(1, 20), found.noise_multiplier, 20).epsilon(20)
    assert 100 < tighter <= found.epsilon


def test_the_sampler_samples_as_accounted() -> None:
    """That it samples so is in `workers/privacy/test_poisson_sampling.py`."""
    split = Split(np.arange(1000), np.arange(0))
    sampler = PoissonSampler(split, seed=0, batch_size=100, key=bytes(32))
    assert sampler.rate == mechanism(100, 1000).rate


def test_a_full_batch_is_no_sample() -> None:
    full, most = mechanism(50, 50), mechanism(49, 50)
    with quiet():
        assert promised(full, 5.0, 10).epsilon(10) > promised(most, 5.0, 10).epsilon(10)
        one_gaussian = dp_accounting().get_epsilon_gaussian(5.0 / np.sqrt(10), 1e-5)
        assert promised(full, 5.0, 10).epsilon(10) == pytest.approx(one_gaussian, rel=1e-4)


@pytest.mark.parametrize("options", [{"accountant": "rdp"}, {"epsilon": 1.0}])
def test_a_schedule_bounds_every_step(options: dict[str, Any]) -> None:
    given = {"noise_multiplier": 1.5} | options
    found = accounted(10, 500, 400, **given)
    schedule = found.schedule
    with quiet():
        fine = curve(mechanism(10, 500, **given), 1.5, FINE)
        for step in (1, 7, 400):
            if step <= found.steps:
                exact = fine.epsilon(step)
                assert exact * (1 - 1e-9) <= schedule.at(step)
                assert schedule.at(step) <= 1.01 * fine.epsilon(int(1.2 * step) + 1)
    assert schedule.at(found.steps) == found.epsilon
    if "epsilon" in options:
        assert schedule.epsilons[-1] <= options["epsilon"]
        assert schedule.last_step < 2 * found.steps
    else:
        assert schedule.last_step == 2 * found.steps
    assert len(schedule.steps) <= 75


@pytest.mark.parametrize("steps", [1, 2, 3, 59, 60, 61, 10_000, 10**9])
def test_a_grid_has_the_first_and_the_last_step(steps: int) -> None:
    found = grid(steps, 2 * steps)
    assert found == sorted(set(found))
    assert {1, steps, 2 * steps} <= set(found)
    assert len(found) <= 75


def test_the_process_answers_as_its_functions_do_and_is_quiet() -> None:
    wanted = request(1, 2, 5, noise_multiplier=10)
    command = (sys.executable, "-m", "batchgrad_engine.privacy.accountant")
    with TemporaryFile() as log:
        ended = ask(command, wanted.model_dump_json(), 60, Shutdown().subscribe, log=log)
        log.seek(0)
        assert (log.read(), ended.code) == (b"", 0)
    found = Answer.model_validate_json(ended.content).accounted
    assert found == accounted(1, 2, 5, noise_multiplier=10)
    assert json.loads(ended.content)["accounted"]["schedule"]["steps"][-1] == 10


def test_steps_that_ran_have_spent_something_however_large_the_noise() -> None:
    found = accounted(10, 1000, 5, noise_multiplier=1e9)
    assert 0 < found.schedule.at(1) <= found.epsilon < 1e-6
