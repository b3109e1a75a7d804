"""The parameters of a private job do not tell more of its rows than the ε that it claims."""

from math import log, sqrt
from pathlib import Path

import numpy as np
import pytest

from tests.engine.attempts import attempt, finished, newest
from tests.engine.private_jobs import private_spec, private_start
from tests.privacy.engine.audit import epsilon_bound, gaussian_epsilon, most_likely_bound

ROWS, DELTA, CLIP_NORM, SIGMA, STEPS = 2000, 1e-5, 1.0, 1.8, 4


def audited(directory: Path, seed: int, sigma: float) -> float:
    """A lower bound on the ε of a job on one-hot rows, each zeroed by a coin.

    Row n moves column n of W (1, m) alone, towards its target, by C: its gradient is clipped. The
    learning rate is so large that θ_0 and what was learned do not matter.
    """
    present = np.random.default_rng(seed).random(ROWS) < 0.5
    data = directory / f"data-{seed}"
    data.mkdir()
    np.save(data / "inputs.npy", np.diag(present).astype(np.float32))
    np.save(data / "targets.npy", np.full((ROWS, 1), 1000, np.float32))
    job = private_spec(
        {"delta": DELTA, "clip_norm": CLIP_NORM, "noise_multiplier": sigma},
        model={"layers": [{"kind": "linear", "out_features": 1, "bias": False}]},
        loss="squared_error",
        optimizer={"kind": "sgd", "learning_rate": 1000.0},
        batch_size="full",
        microbatch_size=128,
        epochs=None,
        steps=STEPS,
    )
    done = directory / f"job-{seed}"
    start = private_start(STEPS, noise_multiplier=sigma)
    assert finished(attempt(job, data, done, privacy=start)).outcome == "succeeded"
    learned = newest(done).parameters["0.weight"][0].astype(float)
    return most_likely_bound(learned, present, DELTA)


CLAIMED = gaussian_epsilon(SIGMA / sqrt(STEPS), DELTA)
"""All rows are in every step: T steps with σ are one Gaussian mechanism with σ/√T."""


def test_the_audit_finds_no_more_than_is_claimed(tmp_path: Path) -> None:
    assert 1 < audited(tmp_path, 1, SIGMA) < CLAIMED == pytest.approx(4.947, abs=1e-3)


def test_the_audit_catches_a_tenth_of_the_noise(tmp_path: Path) -> None:
    assert audited(tmp_path, 1, SIGMA / 10) > CLAIMED


def test_the_oracles_of_the_audit() -> None:
    assert gaussian_epsilon(1.0, 1e-5) == pytest.approx(4.37718, abs=1e-5)
    assert epsilon_bound(1000, 1000, 500, DELTA, 0.05) == 0
    assert epsilon_bound(1000, 100, 100, 0.0, 0.05) == pytest.approx(-log(0.05 ** (-1 / 100) - 1))
