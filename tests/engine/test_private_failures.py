"""Failures of a private job's engine: lost charges, and failed steps that stay charged."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchgrad_engine.attempt import _event
from batchgrad_engine.executors.inline import InlineExecutor
from batchgrad_engine.executors.protocol import ExecutorEvent
from batchgrad_engine.failures import WorkersLost, failed_in_private
from batchgrad_engine.messages import Report
from batchgrad_engine.privacy.charges import EVALUATIONS, FILE, Charges, charged
from batchgrad_engine.privacy.mechanism import Mechanism, Release
from tests.engine.attempts import ScriptedCommands, attempt, finished, newest, rows
from tests.engine.private_jobs import private_spec, private_start


def halted(dataset: Path, directory: Path, **changes: Any) -> None:
    attempt(
        private_spec(**changes),
        dataset,
        directory,
        ScriptedCommands(7, "pause"),
        privacy=private_start(validation_deviation=0.5 if changes else None),
    )
    assert newest(directory).step == 7


@pytest.mark.parametrize("content", [None, "", '{"build": "b", "first": 2, "stop": 9}\n', "\0\n"])
def test_a_job_whose_charges_are_lost_takes_no_step(
    dataset: Path, tmp_path: Path, content: str | None
) -> None:
    directory = tmp_path / "job"
    halted(dataset, directory)
    (directory / FILE).unlink()
    if content is not None:
        (directory / FILE).write_text(content)
    again = attempt(private_spec(), dataset, directory, privacy=private_start())
    assert (finished(again).outcome, finished(again).reason) == ("failed", "charges_lost")
    assert rows(again) == []
    assert "restore charges.jsonl" in (finished(again).detail or "")


def test_a_job_whose_charged_evaluations_are_lost_shows_none(dataset: Path, tmp_path: Path) -> None:
    directory = tmp_path / "job"
    job = {"privacy": {**private_spec().privacy.model_dump(), "validation": "noisy"}}  # type: ignore[union-attr]
    halted(dataset, directory, validation_fraction=0.2, **job)
    (directory / EVALUATIONS).unlink()
    again = attempt(
        private_spec(validation_fraction=0.2, **job),
        dataset,
        directory,
        privacy=private_start(validation_deviation=0.5),
    )
    assert finished(again).reason == "charges_lost"


def test_a_step_that_fails_after_its_noise_stays_charged(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = Mechanism.release

    def overflowing(self: Mechanism, step: int, *of: Any) -> Release:
        found = release(self, step, *of)
        return found if step < 3 else Release(found.gradient, np.inf, None)

    monkeypatch.setattr(Mechanism, "release", overflowing)
    messages = attempt(private_spec(), dataset, tmp_path / "job", privacy=private_start())
    assert finished(messages).reason == "nonfinite"
    assert len(rows(messages)) == 3
    assert charged(tmp_path / "job") == 4


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            MemoryError("Unable to allocate 1.2 GiB for an array with shape (1037, 8)"),
            "out_of_memory",
        ),
        (IndexError("index 1037 is out of bounds"), "engine_error"),
        (WorkersLost(3, (1037, 1038), 5, "died: 1037"), "workers_lost"),
    ],
)
def test_errors_tell_no_numbers_of_rows(
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    reason: str,
) -> None:
    def fails(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(InlineExecutor, "gradient_sums", fails)
    messages = attempt(private_spec(), dataset, tmp_path / "job", privacy=private_start())
    assert finished(messages).outcome == "failed"
    assert finished(messages).reason == reason
    assert "1037" not in repr(messages)
    assert "1037" in str(error)


def test_our_own_reasons_are_told() -> None:
    told = failed_in_private("workers_lost", WorkersLost(3, (7, 9), 5, "died"), 3).detail
    assert told is not None
    assert told.startswith("Step 4: 5 workers were lost one after another.")


def test_more_than_was_accounted_for_is_not_drawn(dataset: Path, tmp_path: Path) -> None:
    start = private_start(sampling_rate=0.19)  # of 101 rows it draws 20
    messages = attempt(private_spec(), dataset, tmp_path / "job", privacy=start)
    assert finished(messages).reason == "bad_inputs"
    assert "submit the job again" in (finished(messages).detail or "")


def test_rows_of_weight_0_are_not_left_out_but_refused(dataset: Path, tmp_path: Path) -> None:
    weights = np.load(dataset / "weights.npy")
    weights[5] = 0
    np.save(dataset / "weights.npy", weights)
    messages = attempt(private_spec(), dataset, tmp_path / "job", privacy=private_start())
    assert finished(messages).reason == "bad_inputs"
    assert "give each a weight above 0" in (finished(messages).detail or "")


def test_times_of_steps_are_whole_seconds(dataset: Path, tmp_path: Path) -> None:
    messages = attempt(private_spec(), dataset, tmp_path / "job", privacy=private_start())
    assert {row.time.microsecond for row in rows(messages)} == {0}


@pytest.mark.parametrize("private", [True, False])
def test_an_executor_is_told_without_times_of_steps(*, private: bool) -> None:
    data = {"workers": 0, "because": "it could save 3.1 s", "milliseconds": {"1 thread": 4.2}}
    told = _event(ExecutorEvent("executor", data), private=private).data
    assert told["workers"] == 0
    assert (told == data) is not private
    assert ("3.1" in str(told) or "4.2" in str(told)) is not private


def test_charges_are_on_the_disk_before_their_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []

    def sync(file: int) -> None:
        synced.append(Path(f"/proc/self/fd/{file}").resolve().name)

    monkeypatch.setattr("batchgrad_engine.privacy.charges.os.fsync", sync)
    charges = Charges(tmp_path, {"numpy": "2"}, 1000)
    charges.add(0)
    assert synced == [FILE, tmp_path.name]  # the folder too: it has the file's name
    charges.add(64)
    assert synced[2:] == [FILE]


def test_reports_tell_nothing_of_the_sample(dataset: Path, tmp_path: Path) -> None:
    inputs = np.load(dataset / "inputs.npy")
    inputs[::9] = 3e38  # whose gradients are not finite
    np.save(dataset / "inputs.npy", inputs)
    messages = attempt(private_spec(), dataset, tmp_path / "job", privacy=private_start())
    reports = [message for message in messages if isinstance(message, Report)]
    assert len(rows(messages)) == 20
    for each in reports:
        assert each.examples_per_second is None
        assert each.warnings == []
        told = each.observed
        assert (told.examples, told.nonfinite_examples, told.norm_sum) == (0, 0, 0.0)
        assert not any(told.norm_buckets)
        assert {phase for phase, _ in each.phase_seconds()} <= {"checkpoint"}
