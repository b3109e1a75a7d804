"""Attempts that run in this process, inline: the same bits after every kind of stop."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from batchgrad_engine.checkpoints.exports import parameters_as_safetensors
from batchgrad_engine.executors import factory
from batchgrad_engine.executors.protocol import Executor
from batchgrad_engine.messages import (
    Checkpointed,
    EngineEvent,
    Report,
    Started,
)
from tests.engine.attempts import ScriptedCommands, attempt, bits, evaluations, finished, rows
from tests.engine.small_job import spec


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
    assert saved[-1].parameters_digest == end.last_parameters_digest
    losses = np.array([row.loss for row in rows(messages)], np.float64)
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    assert set(rows(messages)[0].shortcuts) == {"averaged_error", "mean_example", "mean_of_means"}


def test_each_phase_of_a_step_is_reported_once(dataset: Path, job_directory: Path) -> None:
    messages = attempt(spec(), dataset, job_directory)
    counted: Counter[str] = Counter()
    for message in messages:
        if isinstance(message, Report):
            for phase, seconds in message.phase_seconds():
                counted[phase] += len(seconds)
    saved = sum(isinstance(message, Checkpointed) for message in messages)
    phases = Counter(phase for row in rows(messages) for phase in row.phases)
    assert phases["compute"] == 20
    assert counted.pop("checkpoint", 0) <= saved  # is part of no step
    assert counted == phases


@pytest.mark.parametrize("kind", ["pause", "cancel", "interrupt"])
@pytest.mark.parametrize("steps", [0, 7])
def test_stopped_attempt_goes_on_to_the_same_bits(
    dataset: Path, tmp_path: Path, kind: str, steps: int
) -> None:
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    expected = bits(attempt(spec(), dataset, whole))
    first = attempt(spec(), dataset, halves, ScriptedCommands(steps, kind))
    outcomes = {"pause": "paused", "cancel": "cancelled", "interrupt": "interrupted"}
    assert (finished(first).outcome, finished(first).step) == (outcomes[kind], steps)
    second = attempt(spec(), dataset, halves)
    assert isinstance(second[0], Started)
    assert second[0].resumed_from == steps
    assert bits(second) == expected


def test_a_resumed_attempt_has_the_rows_of_one_that_never_stopped(
    dataset: Path, tmp_path: Path
) -> None:
    (dataset / "weights.npy").unlink()  # with equal weights, noise scales are smoothed over steps
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    expected = rows(attempt(spec(), dataset, whole))
    found = rows(attempt(spec(), dataset, halves, ScriptedCommands(7, "pause")))
    found += rows(attempt(spec(), dataset, halves))
    timing = {"time", "phases"}
    assert [row.model_dump(exclude=timing) for row in found] == [
        row.model_dump(exclude=timing) for row in expected
    ]
    assert all(row.noise_scale is not None for row in expected[7:])


def test_a_command_interrupts_the_wait_for_workers_but_not_a_step(
    dataset: Path, job_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks: list[Callable[[], bool]] = []

    def executor_for(*arguments: Any, interrupted: Callable[[], bool], **more: Any) -> Executor:
        checks.append(interrupted)
        assert interrupted()
        return factory.executor_for(*arguments, interrupted=interrupted, **more)

    monkeypatch.setattr("batchgrad_engine.attempt.executor_for", executor_for)
    messages = attempt(spec(), dataset, job_directory, ScriptedCommands(0, "pause"))
    assert finished(messages).outcome == "paused"
    [interrupted] = checks
    assert not interrupted()


def test_an_epoch_is_evaluated_once_also_if_an_attempt_ends_with_it(
    dataset: Path, job_directory: Path
) -> None:
    first = attempt(spec(), dataset, job_directory, ScriptedCommands(5, "pause"))
    assert [each.step for each in evaluations(first)] == [5]
    second = attempt(spec(), dataset, job_directory)
    assert [each.step for each in evaluations(second)] == [10, 15, 20]


@pytest.mark.parametrize(
    "changes",
    [
        {"threads": 2},
        {"threads": 3},
        {"threads": "auto"},
        {"shortcuts": []},
        {"checkpoint_interval_seconds": 1e-9},
    ],
)
def test_what_must_not_change_the_bits(
    dataset: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    digests = []
    for number, each in enumerate([{}, changes]):
        directory = tmp_path / str(number)
        digests.append(bits(attempt(spec(**each), dataset, directory)))
    assert digests[0] == digests[1]


@pytest.mark.parametrize(
    "changes", [{"seed": 1}, {"microbatch_size": 4}, {"class_weights": "balanced"}]
)
def test_what_must_change_the_bits(dataset: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    digests = []
    for number, each in enumerate([{}, changes]):
        directory = tmp_path / str(number)
        digests.append(bits(attempt(spec(**each), dataset, directory)))
    assert digests[0] != digests[1]


def test_torn_newest_checkpoint_costs_steps_but_no_bits(dataset: Path, tmp_path: Path) -> None:
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    expected = bits(attempt(spec(), dataset, whole))
    attempt(spec(), dataset, torn, ScriptedCommands(4, "pause"))
    attempt(spec(), dataset, torn, ScriptedCommands(4, "pause"))
    newest = max(torn.glob("step-*"))
    newest.write_bytes(newest.read_bytes()[:100])
    messages = attempt(spec(), dataset, torn)
    warnings = [m.data["detail"] for m in messages if isinstance(m, EngineEvent)]
    assert newest.name in warnings[0]
    assert bits(messages) == expected


def test_initial_parameters_of_another_network_fail(dataset: Path, job_directory: Path) -> None:
    foreign = job_directory / "foreign.safetensors"
    foreign.write_bytes(b"nonsense")
    end = finished(attempt(spec(), dataset, job_directory, initial_parameters=foreign))
    assert (end.outcome, end.reason) == ("failed", "bad_initial_parameters")


def test_initial_parameters_are_where_training_starts(dataset: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    attempt(spec(epochs=1), dataset, first)
    given = tmp_path / "given.safetensors"
    given.write_bytes(parameters_as_safetensors(max(first.glob("step-*"))))
    start = attempt(
        spec(epochs=1), dataset, second, ScriptedCommands(0, "pause"), initial_parameters=given
    )
    expected = bits(attempt(spec(epochs=1), dataset, first))
    assert bits(start) == expected


def test_unexpected_error_fails_the_job_and_shows_in_the_log(
    dataset: Path, job_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (dataset / "inputs.npy").unlink()
    end = finished(attempt(spec(), dataset, job_directory))
    assert (end.outcome, end.reason) == ("failed", "engine_error")
    assert "no inputs" in (end.detail or "")
    assert "Traceback" in caplog.text


def test_resumed_at_its_last_step_the_checkpoint_is_reported_again(
    dataset: Path, job_directory: Path
) -> None:
    first = attempt(spec(), dataset, job_directory)
    again = attempt(spec(), dataset, job_directory)
    reported = [
        [(m.step, m.digest) for m in messages if isinstance(m, Checkpointed)]
        for messages in (first, again)
    ]
    assert reported[0][-1:] == reported[1]
    assert finished(again) == finished(first)


def test_class_weights_go_with_a_loss_of_numbers(dataset: Path, job_directory: Path) -> None:
    changes = {
        "model": {"layers": [{"kind": "linear", "out_features": 1}]},
        "loss": "squared_error",
        "class_weights": {0: 2.0},
    }
    assert finished(attempt(spec(**changes), dataset, job_directory)).outcome == "succeeded"


def test_leftovers_of_a_killed_engine_are_removed(dataset: Path, job_directory: Path) -> None:
    torn = [job_directory / name for name in ("step-0000000001.999.tmp", f"{'a' * 16}.tmp")]
    for path in torn:
        path.write_bytes(b"half")
    attempt(spec(), dataset, job_directory)
    assert not any(path.exists() for path in torn)


def test_attempt_holds_blas_to_one_thread(dataset: Path, job_directory: Path) -> None:
    with threadpool_limits(limits=2, user_api="blas"):
        attempt(spec(epochs=1), dataset, job_directory)
        pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
        assert {pool["num_threads"] for pool in pools} == {1}
