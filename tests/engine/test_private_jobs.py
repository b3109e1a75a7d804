"""Private jobs in the engine: what they tell, the bits of a key, resuming, and the budget."""

from pathlib import Path

import pytest

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
