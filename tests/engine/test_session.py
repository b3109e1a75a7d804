"""Whole attempts in this process, inline: every way to stop gives the same bits in the end."""

from math import inf
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from batchgrad.contract import JobSpec
from batchgrad_service.engine import session
from batchgrad_service.engine.checkpoints import parameters_as_safetensors
from batchgrad_service.engine.messages import (
    AnyEngineMessage,
    Checkpointed,
    EngineMessage,
    Finished,
    Happened,
    Report,
    Start,
    Started,
    encode,
)
from batchgrad_workers.source import DatasetSource
from tests.engine.small_job import spec


class StopAfter:
    """Gives its order before that many steps and one are done; the engine asks before each."""

    def __init__(self, steps: float = inf, kind: Any = None) -> None:
        self._left = steps
        self._kind = kind

    @property
    def interrupted(self) -> bool:
        self._left -= 1
        return self._kind == "interrupt" and self._left < 0

    def ledger_wanted(self) -> bool:
        return False

    @property
    def command(self) -> Literal["pause", "cancel"] | None:
        return self._kind if self._kind != "interrupt" and self._left < 0 else None


def attempt(
    job: JobSpec, dataset: Path, directory: Path, orders: StopAfter | None = None, **start: Any
) -> list[AnyEngineMessage]:
    messages: list[AnyEngineMessage] = []
    session.run(
        Start(
            job_id="j",
            attempt=1,
            spec=job,
            dataset=DatasetSource(dataset),
            job_directory=directory,
            **start,
        ),
        orders or StopAfter(),
        lambda message: messages.append(EngineMessage.validate_json(encode(message))),
    )
    return messages


def finished(messages: list[AnyEngineMessage]) -> Finished:
    assert isinstance(messages[-1], Finished)
    return messages[-1]


def evaluations(messages: list[AnyEngineMessage]) -> list[Any]:
    return [e for message in messages if isinstance(message, Report) for e in message.evaluations]


def rows(messages: list[AnyEngineMessage]) -> list[Any]:
    return [row for message in messages if isinstance(message, Report) for row in message.rows]


def test_run_reports_every_step_evaluates_every_epoch_and_ends(
    dataset: Path, job_directory: Path
) -> None:
    messages = attempt(spec(), dataset, job_directory)
    end = finished(messages)
    assert (end.outcome, end.step) == ("succeeded", 20)
    assert isinstance(messages[0], Started)
    assert messages[0].steps_planned == 20
    assert [row.step for row in rows(messages)] == list(range(1, 21))
    assert [each.step for each in evaluations(messages)] == [5, 10, 15, 20]
    saved = [m for m in messages if isinstance(m, Checkpointed)]
    assert saved[-1].parameters_digest == end.parameters_digest
    losses = [row.loss for row in rows(messages)]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    assert set(rows(messages)[0].shortcuts) == {"averaged_error", "mean_example", "mean_of_means"}


@pytest.mark.parametrize("kind", ["pause", "cancel", "interrupt"])
@pytest.mark.parametrize("steps", [0, 7])
def test_stopped_attempt_goes_on_to_the_same_bits(
    dataset: Path, tmp_path: Path, kind: str, steps: int
) -> None:
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    whole.mkdir()
    halves.mkdir()
    expected = finished(attempt(spec(), dataset, whole)).parameters_digest
    first = attempt(spec(), dataset, halves, StopAfter(steps, kind))
    outcomes = {"pause": "paused", "cancel": "cancelled", "interrupt": "interrupted"}
    assert (finished(first).outcome, finished(first).step) == (outcomes[kind], steps)
    second = attempt(spec(), dataset, halves)
    assert isinstance(second[0], Started)
    assert second[0].resumed_from == steps
    assert finished(second).parameters_digest == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"threads": 2},
        {"threads": 3},
        {"threads": "auto"},
        {"shortcuts": []},
        {"checkpoint_seconds": 1e-9},
    ],
)
def test_what_must_not_change_the_bits(
    dataset: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    digests = []
    for number, each in enumerate([{}, changes]):
        directory = tmp_path / str(number)
        directory.mkdir()
        digests.append(finished(attempt(spec(**each), dataset, directory)).parameters_digest)
    assert digests[0] == digests[1]


@pytest.mark.parametrize(
    "changes", [{"seed": 1}, {"microbatch_size": 4}, {"class_weights": "balanced"}]
)
def test_what_must_change_the_bits(dataset: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    digests = []
    for number, each in enumerate([{}, changes]):
        directory = tmp_path / str(number)
        directory.mkdir()
        digests.append(finished(attempt(spec(**each), dataset, directory)).parameters_digest)
    assert digests[0] != digests[1]


def test_torn_newest_checkpoint_costs_steps_but_no_bits(dataset: Path, tmp_path: Path) -> None:
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    whole.mkdir()
    torn.mkdir()
    expected = finished(attempt(spec(), dataset, whole)).parameters_digest
    attempt(spec(), dataset, torn, StopAfter(4, "pause"))
    attempt(spec(), dataset, torn, StopAfter(4, "pause"))
    newest = max(torn.glob("step-*"))
    newest.write_bytes(newest.read_bytes()[:100])
    messages = attempt(spec(), dataset, torn)
    warnings = [m.data["detail"] for m in messages if isinstance(m, Happened)]
    assert newest.name in warnings[0]
    assert finished(messages).parameters_digest == expected


def overflow(dataset: Path) -> None:
    inputs = np.load(dataset / "inputs.npy")
    inputs[[11, 42]] = 3e38
    np.save(dataset / "inputs.npy", inputs)


HOT = {
    "standardize": False,
    "validation_fraction": 0.0,
    "loss": "squared_error",
    "epochs": 1,
    "optimizer": {"kind": "sgd", "learning_rate": 1e-3},
}


@pytest.fixture
def hot(dataset: Path) -> Path:
    np.save(dataset / "targets.npy", np.zeros((101, 3), np.float32))
    overflow(dataset)
    return dataset


LINEAR = {"layers": [{"kind": "linear", "out_features": 3}]}


def test_nonfinite_examples_stop_the_job_and_are_named(hot: Path, job_directory: Path) -> None:
    end = finished(attempt(spec(model=LINEAR, **HOT), hot, job_directory))
    assert (end.outcome, end.reason) == ("failed", "nonfinite")
    assert end.detail is not None
    assert "11" in end.detail or "42" in end.detail
    assert "learning rate" in end.detail


def test_nonfinite_examples_are_dropped_when_asked(hot: Path, job_directory: Path) -> None:
    messages = attempt(spec(model=LINEAR, nonfinite="drop", **HOT), hot, job_directory)
    assert finished(messages).outcome == "succeeded"
    counted = sum(m.observed.nonfinite_examples for m in messages if isinstance(m, Report))
    assert counted == 2
    told = " ".join(m.data["detail"] for m in messages if isinstance(m, Happened))
    assert "11" in told
    assert "42" in told
    assert all(np.isfinite(row.loss) for row in rows(messages))


def test_learning_rate_that_overflows_ends_with_the_remedy(
    dataset: Path, job_directory: Path
) -> None:
    np.save(dataset / "targets.npy", np.zeros((101, 3), np.float32))
    changes = HOT | {"optimizer": {"kind": "sgd", "learning_rate": 1e20}}
    end = finished(attempt(spec(model=LINEAR, **changes), dataset, job_directory))
    assert (end.outcome, end.reason) == ("failed", "nonfinite")
    assert "diverged: lower the learning rate" in (end.detail or "")


def test_minibatch_without_weight_makes_no_update(dataset: Path, job_directory: Path) -> None:
    np.save(dataset / "weights.npy", np.zeros(101))
    messages = attempt(spec(epochs=1), dataset, job_directory)
    assert finished(messages).outcome == "succeeded"
    assert {row.loss for row in rows(messages)} == {None}
    assert {row.gradient_norm for row in rows(messages)} == {0.0}
    fresh = attempt(spec(epochs=1), dataset, job_directory)
    assert finished(fresh).parameters_digest == finished(messages).parameters_digest


def test_initial_parameters_that_do_not_fit_are_told(dataset: Path, job_directory: Path) -> None:
    foreign = job_directory / "foreign.safetensors"
    foreign.write_bytes(b"nonsense")
    end = finished(attempt(spec(), dataset, job_directory, initial_parameters=foreign))
    assert (end.outcome, end.reason) == ("failed", "bad_initial_parameters")


def test_initial_parameters_are_where_training_starts(dataset: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    attempt(spec(epochs=1), dataset, first)
    given = tmp_path / "given.safetensors"
    given.write_bytes(parameters_as_safetensors(max(first.glob("step-*"))))
    start = attempt(
        spec(epochs=1), dataset, second, StopAfter(0, "pause"), initial_parameters=given
    )
    expected = finished(attempt(spec(epochs=1), dataset, first)).parameters_digest
    assert finished(start).parameters_digest == expected


def test_unexpected_error_fails_the_job_and_shows_in_the_log(
    dataset: Path, job_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (dataset / "inputs.npy").unlink()
    end = finished(attempt(spec(), dataset, job_directory))
    assert (end.outcome, end.reason) == ("failed", "engine_error")
    assert "inputs.npy" in (end.detail or "")
    assert "Traceback" in caplog.text


def test_finite_examples_whose_sum_overflows_end_with_the_remedy(
    dataset: Path, job_directory: Path
) -> None:
    np.save(dataset / "targets.npy", np.zeros((101, 3), np.float32))
    np.save(dataset / "weights.npy", np.full(101, 3e38))
    end = finished(attempt(spec(model=LINEAR, **HOT), dataset, job_directory))
    assert (end.outcome, end.reason) == ("failed", "nonfinite")
    assert "Divide weights" in (end.detail or "")


def test_last_update_that_overflows_is_no_success(dataset: Path, job_directory: Path) -> None:
    np.save(dataset / "targets.npy", np.zeros((101, 3), np.float32))
    changes = HOT | {
        "optimizer": {"kind": "sgd", "learning_rate": 3e38},
        "epochs": None,
        "steps": 1,
    }
    np.save(dataset / "inputs.npy", 1e3 * np.load(dataset / "inputs.npy"))
    end = finished(attempt(spec(model=LINEAR, **changes), dataset, job_directory))
    assert (end.outcome, end.reason) == ("failed", "nonfinite")
    assert "parameters are not finite after step 1" in (end.detail or "")
    assert not list(job_directory.glob("step-*"))


def test_resumed_at_its_last_step_the_checkpoint_is_told_again(
    dataset: Path, job_directory: Path
) -> None:
    first = attempt(spec(), dataset, job_directory)
    again = attempt(spec(), dataset, job_directory)
    told = [
        [(m.step, m.digest) for m in messages if isinstance(m, Checkpointed)]
        for messages in (first, again)
    ]
    assert told[0][-1:] == told[1]
    assert finished(again) == finished(first)


def test_class_weights_go_with_a_loss_of_numbers(dataset: Path, job_directory: Path) -> None:
    changes = {
        "model": {"layers": [{"kind": "linear", "out_features": 1}]},
        "loss": "squared_error",
        "class_weights": {0: 2.0},
    }
    assert finished(attempt(spec(**changes), dataset, job_directory)).outcome == "succeeded"


def test_inputs_too_large_to_standardize_are_told(dataset: Path, job_directory: Path) -> None:
    np.save(dataset / "inputs.npy", 1e200 * np.load(dataset / "inputs.npy").astype(np.float64))
    end = finished(attempt(spec(), dataset, job_directory))
    assert (end.outcome, end.reason) == ("failed", "bad_inputs")


def test_a_broken_example_is_warned_of_once(hot: Path, job_directory: Path) -> None:
    changes = HOT | {"epochs": 6}
    messages = attempt(spec(model=LINEAR, nonfinite="drop", **changes), hot, job_directory)
    assert 1 <= len([m for m in messages if isinstance(m, Happened)]) <= 2


def test_leftovers_of_a_killed_engine_are_removed(dataset: Path, job_directory: Path) -> None:
    torn = job_directory / "step-0000000001.999.tmp"
    torn.write_bytes(b"half")
    attempt(spec(), dataset, job_directory)
    assert not torn.exists()
