"""A job that starts from another's parameters and standardization starts where that one ended."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchgrad_engine.checkpoints import origin
from batchgrad_engine.checkpoints.exports import parameters_as_safetensors
from batchgrad_engine.messages import AnyEngineMessage, EngineEvent
from batchgrad_workers.data.input_transform import standardization_of
from tests.engine.attempts import ScriptedCommands, attempt, finished, newest, rows
from tests.engine.small_job import spec

STILL: dict[str, Any] = {"optimizer": {"kind": "sgd", "learning_rate": 1e-30}, "steps": 1}
START: dict[str, Any] = {"digest": "sha256:" + "0" * 64}


@pytest.fixture
def trained(dataset: Path, tmp_path: Path) -> Path:
    """Final parameters of a job on the unchanged dataset."""
    attempt(spec(keep="last"), dataset, tmp_path / "first")
    given = tmp_path / "given.safetensors"
    given.write_bytes(parameters_as_safetensors(max((tmp_path / "first").glob("step-*"))))
    return given


def went_on(dataset: Path, directory: Path, given: Path, **changes: Any) -> list[AnyEngineMessage]:
    job = spec(epochs=None, batch_size="full", **STILL, **changes)
    return attempt(job, dataset, directory, initial_parameters=given)


def test_other_inputs_are_seen_as_the_parameters_know_them(
    dataset: Path, tmp_path: Path, trained: Path
) -> None:
    """Shifted and stretched by powers of two, inputs standardized anew come out the same."""
    start = START | {"standardization": "keep"}
    there = went_on(dataset, tmp_path / "there", trained)
    kept = went_on(dataset, tmp_path / "kept", trained, initial_parameters=start)
    assert rows(kept)[0].loss == rows(there)[0].loss

    inputs = np.load(dataset / "inputs.npy").astype(np.float64)
    np.save(dataset / "inputs.npy", inputs * 4)
    own = went_on(dataset, tmp_path / "own", trained, initial_parameters=START)
    kept = went_on(dataset, tmp_path / "stretched", trained, initial_parameters=start)
    assert rows(own)[0].loss == pytest.approx(rows(there)[0].loss, rel=1e-6)
    assert rows(kept)[0].loss != pytest.approx(rows(there)[0].loss, rel=1e-2)
    first = standardization_of(newest(tmp_path / "first").transform)
    taken = standardization_of(newest(tmp_path / "stretched").transform)
    assert first is not None
    assert taken is not None
    assert taken.mean.tobytes() == first.mean.tobytes()
    assert taken.deviation.tobytes() == first.deviation.tobytes()


def test_a_resumed_job_keeps_what_it_kept(dataset: Path, tmp_path: Path, trained: Path) -> None:
    start = START | {"standardization": "keep"}
    np.save(dataset / "inputs.npy", np.load(dataset / "inputs.npy") + 1)
    job = spec(initial_parameters=start)
    whole = attempt(job, dataset, tmp_path / "whole", initial_parameters=trained)
    attempt(
        job, dataset, tmp_path / "cut", ScriptedCommands(7, "pause"), initial_parameters=trained
    )
    rest = attempt(job, dataset, tmp_path / "cut", initial_parameters=trained)
    assert finished(rest).parameters_digest == finished(whole).parameters_digest


def test_parameters_that_say_none_fail_the_job(dataset: Path, tmp_path: Path) -> None:
    attempt(spec(standardize=False), dataset, tmp_path / "first")
    given = tmp_path / "given.safetensors"
    given.write_bytes(parameters_as_safetensors(max((tmp_path / "first").glob("step-*"))))
    start = START | {"standardization": "keep"}
    end = finished(went_on(dataset, tmp_path / "next", given, initial_parameters=start))
    assert (end.outcome, end.reason) == ("failed", "bad_initial_parameters")


def test_a_job_s_start_checks_what_its_plan_skips(
    dataset: Path, tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def warned(name: str) -> list[str]:
        messages = went_on(dataset, tmp_path / name, trained, initial_parameters=START)
        return [m.data["detail"] for m in messages if isinstance(m, EngineEvent)]

    np.save(dataset / "inputs.npy", np.load(dataset / "inputs.npy") + 500)
    assert warned("small") == []  # its plan has warned
    monkeypatch.setattr("batchgrad_engine.preparation.transforms.CHECKED_NUMBERS", 100)
    [text] = warned("large")
    assert "another mean and deviation" in text
    assert origin.CHECKED_NUMBERS > 10**6
