"""Private jobs in the engine: what they tell, the bits of a key, resuming, and the budget."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchgrad_engine.privacy.charges import Charges, charged
from batchgrad_engine.privacy.mechanism import Mechanism, Release
from batchgrad_workers.digests import checksums
from tests.engine.attempts import (
    ScriptedCommands,
    attempt,
    bits,
    evaluations,
    finished,
    newest,
    rows,
)
from tests.engine.private_jobs import private_spec, private_start


def test_rows_tell_the_noisy_gradient_and_epsilon_and_no_more(
    dataset: Path, tmp_path: Path
) -> None:
    messages = attempt(private_spec(), dataset, tmp_path / "job", privacy=private_start())
    assert finished(messages).outcome == "succeeded"
    found = rows(messages)
    assert [row.epsilon for row in found] == [step / 10 for step in range(1, 21)]
    for row in found:
        assert row.gradient_norm > 0
        assert row.gradient_checksum
        assert (row.loss, row.noise_scale, row.weight) == (None, None, None)
        assert (row.norm_test, row.norms, row.shortcuts, row.phases) == (None, None, {}, {})


def test_norm_and_checksum_are_those_of_the_noisy_gradient(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, noisy = Mechanism.release, []

    def kept(self: Mechanism, step: int, *of: Any) -> Release:
        found = release(self, step, *of)
        noisy.append(found.gradient.copy())
        return found

    monkeypatch.setattr(Mechanism, "release", kept)
    found = rows(attempt(private_spec(), dataset, tmp_path / "job", privacy=private_start()))
    for row, gradient in zip(found, noisy, strict=True):
        assert row.gradient_norm == pytest.approx(float(np.linalg.norm(gradient)), rel=1e-6)
        assert row.gradient_checksum == checksums(gradient[None])[0]


def test_steps_without_a_row_spend_as_much(dataset: Path, tmp_path: Path) -> None:
    """Three in eight minibatches of one row on average are empty."""
    job = private_spec(batch_size=1, epochs=None, steps=20)
    messages = attempt(job, dataset, tmp_path / "job", privacy=private_start())
    assert [row.epsilon for row in rows(messages)] == [step / 10 for step in range(1, 21)]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("clipping", ["flat", "automatic", "per_layer", "quantile"])
def test_a_resumed_job_has_the_bits_and_the_budget_of_a_whole_one(
    dataset: Path, tmp_path: Path, threads: int, clipping: str
) -> None:
    job = private_spec({"clipping": clipping}, threads=threads)
    whole = attempt(job, dataset, tmp_path / "whole", privacy=private_start())
    assert bits(whole) == bits(
        attempt(
            private_spec({"clipping": clipping}), dataset, tmp_path / "b", privacy=private_start()
        )
    )
    directory = tmp_path / "halves"
    attempt(job, dataset, directory, ScriptedCommands(7, "pause"), privacy=private_start())
    assert newest(directory).step == 7
    again = attempt(job, dataset, directory, privacy=private_start())
    assert bits(again) == bits(whole)
    assert rows(again)[-1].epsilon == rows(whole)[-1].epsilon == 2.0


def test_another_key_gives_other_parameters(dataset: Path, tmp_path: Path) -> None:
    one = attempt(private_spec(), dataset, tmp_path / "one", privacy=private_start())
    other = private_start(key=bytes(32).hex())
    assert bits(one) != bits(attempt(private_spec(), dataset, tmp_path / "b", privacy=other))


def test_a_noisy_loss_and_a_noisy_accuracy_are_shown(dataset: Path, tmp_path: Path) -> None:
    job = private_spec(
        {"report": {"loss_bound": 2.0}, "validation": "noisy"}, validation_fraction=0.2
    )
    start = private_start(validation_deviation=0.5)
    messages = attempt(job, dataset, tmp_path / "job", privacy=start)
    assert all(row.loss is not None for row in rows(messages))
    assert all(e.validation_loss is None for e in evaluations(messages))
    assert all(e.validation_accuracy is not None for e in evaluations(messages))


def test_another_build_is_charged_again_until_the_budget_is_spent(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = private_spec({"epsilon": 2.4}, keep="last")
    directory = tmp_path / "job"
    attempt(job, dataset, directory, ScriptedCommands(10, "interrupt"), privacy=private_start())
    for file in directory.glob("step-*"):
        file.unlink()  # the machine lost its checkpoint
    first = attempt(job, dataset, directory, ScriptedCommands(5, "pause"), privacy=private_start())
    assert [row.epsilon for row in rows(first)] == [1.0] * 5  # the same steps: nothing is spent
    for file in directory.glob("step-*"):
        file.unlink()
    monkeypatch.setattr("batchgrad_engine.privacy.budget.__version__", "another")
    again = attempt(job, dataset, directory, privacy=private_start())
    assert (finished(again).outcome, finished(again).reason) == ("failed", "budget_spent")
    assert [row.epsilon for row in rows(again)] == pytest.approx([1.1 + k / 10 for k in range(14)])
    assert newest(directory).step == 14


def test_steps_charged_ahead_are_taken_back_only_if_none_has_run_them(tmp_path: Path) -> None:
    killed = Charges(tmp_path, {"numpy": "2"}, 1000)
    for step in range(70):
        killed.add(step)
    assert charged(tmp_path) == 128
    resumed = Charges(tmp_path, {"numpy": "2"}, 1000)
    for step in range(50, 130):
        assert resumed.total_with(step) == max(128, step + 1)
        resumed.add(step)
    resumed.end(130)
    assert charged(tmp_path) == 130
    with (tmp_path / "charges.jsonl").open("a") as file:
        file.write('{"build": "torn')  # the machine stopped while it was written
    other = Charges(tmp_path, {"numpy": "3"}, 1000)
    other.add(120)
    assert charged(tmp_path) == 130 + 64
    assert other.total_with(120) == 131


def test_noisy_evaluations_beyond_the_planned_ones_are_not_shown(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = private_spec({"validation": "noisy"}, validation_fraction=0.2, keep="last")
    start, directory = private_start(validation_deviation=0.5), tmp_path / "job"
    attempt(job, dataset, directory, ScriptedCommands(10, "pause"), privacy=start)
    for file in directory.glob("step-*"):
        file.unlink()
    monkeypatch.setattr("batchgrad_engine.privacy.budget.__version__", "another")
    again = attempt(job, dataset, directory, privacy=start)
    assert len(evaluations(again)) == 4 - 2  # an epoch has five steps


@pytest.mark.parametrize(
    ("batch_size", "expected"),
    [(1, 1), (100, 100), (512, 128), (800, 200), (1024, 256), (60_000, 256), ("full", 128)],
)
def test_a_private_job_has_larger_microbatches_by_default(
    batch_size: int | str, expected: int
) -> None:
    own = private_spec(batch_size=batch_size, microbatch_size=None)
    assert own.microbatch == expected
    assert private_spec(batch_size=1024, microbatch_size=5).microbatch == 5


@pytest.mark.parametrize("unit", ["units", "example"])
def test_all_rows_of_a_person_count_as_much_as_one(
    dataset: Path, tmp_path: Path, unit: str
) -> None:
    np.save(dataset / "units.npy", np.arange(101) % 2)  # two persons with some fifty rows each
    hardly_noisy = {"noise_multiplier": 1e-6}
    job = private_spec({"unit": unit, "clip_norm": 0.01, **hardly_noisy}, batch_size=101)
    start = private_start(steps=4, **hardly_noisy)
    messages = attempt(job, dataset, tmp_path / "one", privacy=start)
    sums = [101 * row.gradient_norm for row in rows(messages)]
    assert len(sums) == 4
    if unit == "units":
        assert 0.01 < max(sums) < 2 * 0.01 * 1.001
    else:
        assert max(sums) > 5 * 0.01
    again = job.model_copy(update={"threads": 2, "microbatch_size": 3})
    assert bits(attempt(again, dataset, tmp_path / "two", privacy=start)) == bits(messages)
