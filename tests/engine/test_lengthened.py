"""A job that trains on after its end: the bits of a job that was as long from the start."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchgrad_engine.training.early_stopping import EarlyStopping
from tests.engine.attempts import ScriptedCommands, attempt, bits, evaluations, finished, newest
from tests.engine.small_job import spec
from tests.engine.test_early_stopping import evaluated

EPOCH = 5  # steps
DECAY = {"kind": "step", "every": 7, "factor": 0.5, "warmup_steps": 3}
ADAM = {"optimizer": {"kind": "adam", "learning_rate": 0.05}}


def train_on(dataset: Path, directory: Path, length: dict[str, Any], **changes: Any) -> Any:
    """An attempt at the lengthened job, as the service starts it."""
    step = newest(directory).step
    return attempt(spec(**changes | length), dataset, directory, lengthened_step=step)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        ADAM,
        {"early_stopping": {"patience": 9}},
        {"optimizer": {"kind": "sgd", "learning_rate": 0.1, "schedule": DECAY}},
    ],
)
def test_it_has_the_bits_of_a_job_as_long_from_the_start(
    dataset: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    whole = attempt(spec(**changes | {"epochs": 5}), dataset, tmp_path / "whole")
    first = attempt(spec(**changes | {"epochs": 2}), dataset, tmp_path / "job")
    assert finished(first).step == 2 * EPOCH
    after = train_on(dataset, tmp_path / "job", {"epochs": 5}, **changes)
    assert bits(after) == bits(whole)
    expected, reached = newest(tmp_path / "whole"), newest(tmp_path / "job")
    assert reached.progress == expected.progress
    for name, column in expected.ledger.items():
        np.testing.assert_array_equal(reached.ledger[name], column, strict=True)
    for name, state in expected.optimizer.items():
        np.testing.assert_array_equal(reached.optimizer[name], state, strict=True)
    seen = [e.step for e in evaluations(first) + evaluations(after)]
    assert seen == [EPOCH * epoch for epoch in range(1, 6)]


def test_a_cancelled_job_trains_on_from_the_middle_of_an_epoch(
    dataset: Path, tmp_path: Path
) -> None:
    whole = attempt(spec(epochs=3), dataset, tmp_path / "whole")
    cancelled = attempt(spec(), dataset, tmp_path / "job", ScriptedCommands(7, "cancel"))
    assert (finished(cancelled).outcome, finished(cancelled).step) == ("cancelled", 7)
    assert bits(train_on(dataset, tmp_path / "job", {"epochs": 3})) == bits(whole)


def test_a_schedule_over_the_whole_length_makes_other_bits(dataset: Path, tmp_path: Path) -> None:
    cosine = {"optimizer": {"kind": "sgd", "learning_rate": 0.1, "schedule": {"kind": "cosine"}}}
    whole = attempt(spec(**cosine | {"epochs": 4}), dataset, tmp_path / "whole")
    attempt(spec(**cosine | {"epochs": 2}), dataset, tmp_path / "job")
    assert bits(train_on(dataset, tmp_path / "job", {"epochs": 4}, **cosine)) != bits(whole)


def test_after_an_early_stop_patience_starts_anew_and_the_best_is_kept(
    dataset: Path, tmp_path: Path
) -> None:
    np.save(dataset / "targets.npy", np.random.default_rng(5).integers(0, 3, 101))  # noise
    stopping = ADAM | {"early_stopping": {"patience": 2}}
    first = attempt(spec(**stopping | {"epochs": 60}), dataset, tmp_path / "job")
    stopped = finished(first).step
    assert stopped < 60 * EPOCH
    best = newest(tmp_path / "job").best
    assert best is not None
    # Without the user's wish another attempt ends at once, as after a service that died.
    again = attempt(spec(**stopping | {"epochs": 60}), dataset, tmp_path / "job")
    assert finished(again).step == stopped
    length = {"epochs": stopped // EPOCH + 20}
    after = train_on(dataset, tmp_path / "job", length, **stopping)
    assert finished(after).step == stopped + 2 * EPOCH  # it gets no better, twice more
    kept = newest(tmp_path / "job").best
    assert kept is not None
    assert kept.evaluation == best.evaluation
    assert finished(after).parameters_digest == finished(first).parameters_digest


def test_only_a_stop_starts_patience_anew() -> None:
    stopping = EarlyStopping(spec(early_stopping={"patience": 3}).early_stopping)
    for epoch, loss in enumerate([1.0, 2.0], 1):
        stopping.observe(epoch, evaluated(loss))
    before = stopping.state()
    stopping.train_on()
    assert stopping.state() == before
