"""Replay any step, bit for bit, from any earlier checkpoint or from the start."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from batchgrad.contract import JobSpec, StepExamples, StepRow
from batchgrad_engine.checkpoints import checkpoints
from batchgrad_engine.checkpoints.checkpoints import BadCheckpoint
from batchgrad_engine.replay import Replayed, Request, replay
from tests.engine.attempts import ScriptedCommands, attempt, newest, rows
from tests.engine.norms_of_rows import norms_of
from tests.engine.small_job import spec

ADAM = {"kind": "adam", "learning_rate": 0.01, "weight_decay": 0.1, "clip_norm": 0.5}
DROPPING = {
    "layers": [
        {"kind": "linear", "out_features": 9},
        {"kind": "dropout", "p": 0.3},
        {"kind": "linear", "out_features": 3},
        {"kind": "dropout", "p": 0.2},
    ]
}
WARM = ADAM | {"schedule": {"kind": "cosine", "warmup_steps": 3}}


def trained(job: JobSpec, dataset: Path, directory: Path) -> list[StepRow]:
    """All 20 steps; checkpoints after steps 6, 13 and 20."""
    found = rows(attempt(job, dataset, directory, ScriptedCommands(6, "pause")))
    found += rows(attempt(job, dataset, directory, ScriptedCommands(7, "pause")))
    return found + rows(attempt(job, dataset, directory))


def request(job: JobSpec, dataset: Path, row: StepRow, **changes: Any) -> Request:
    fields: dict[str, Any] = {
        "spec": job,
        "dataset": dataset,
        "checkpoint": None,
        "initial_parameters": None,
        "step": row.step,
        "checksum": row.gradient_checksum,
        "order": "share",
        "limit": 1000,
    }
    return Request.model_validate(fields | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": WARM, "class_weights": "balanced", "shortcuts": []},
        {"update": "averaged_error", "precision": "float64", "threads": 2},
        {"update": "mean_of_means", "shortcuts": ["mean_example"]},
        {"batch_size": "full", "microbatch_size": 40},
        {"model": DROPPING, "shortcuts": []},
    ],
    ids=str,
)
def test_steps_come_back_bit_for_bit(
    dataset: Path, job_directory: Path, changes: dict[str, Any]
) -> None:
    job = spec(**changes)
    done = trained(job, dataset, job_directory) if changes.get("batch_size") != "full" else None
    done = done or rows(attempt(job, dataset, job_directory))
    kept = {checkpoints.read(path).step: path for path in job_directory.glob("step-*")}
    for row in done[:: max(1, len(done) // 4)]:
        for at, path in [(0, None), *kept.items()]:
            if at < row.step:
                found = replay(request(job, dataset, row, checkpoint=path))
                assert found.verified, (row.step, at)
                assert found.replayed_from == at
                assert found.gradient_norm == row.gradient_norm
                assert sum(each.share or 0 for each in found.data) == pytest.approx(1, rel=1e-4)


@pytest.fixture
def done(dataset: Path, job_directory: Path) -> list[StepRow]:
    return trained(spec(), dataset, job_directory)


def test_largest_norms_are_those_that_the_row_has(
    dataset: Path, done: list[StepRow], job_directory: Path
) -> None:
    found = replay(request(spec(), dataset, done[8], order="norm", limit=5))
    assert [each.example for each in found.data] == [x.example for x in norms_of(done[8]).largest]
    norms = [each.norm for each in found.data]
    assert norms == pytest.approx([x.norm for x in norms_of(done[8]).largest], rel=1e-5)


def test_rankings(dataset: Path, done: list[StepRow], job_directory: Path) -> None:
    def column(order: str, figure: str) -> list[Any]:
        found: StepExamples = replay(request(spec(), dataset, done[3], order=order))
        return [getattr(each, figure) for each in found.data]

    assert column("example", "example") == sorted(column("share", "example"))
    shares = [abs(share) for share in column("share", "share")]
    assert shares == sorted(shares, reverse=True)
    for order in ("norm", "loss", "leave_one_out_distance"):
        assert column(order, order) == sorted(column(order, order), reverse=True)
    assert column("alignment", "alignment") == sorted(column("alignment", "alignment"))


def test_a_run_with_other_numbers_is_not_verified(
    dataset: Path, done: list[StepRow], job_directory: Path
) -> None:
    saved = newest(job_directory)
    path = min(job_directory.glob("step-*"))
    assert (saved.step, checkpoints.read(path).step) == (20, 6)
    row = done[10]
    assert replay(request(spec(), dataset, row, checkpoint=path)).verified
    early = checkpoints.read(path)
    early.parameters["0.bias"][0] += 1e-6  # a whole checkpoint, of another run
    changed = checkpoints.write(job_directory, replace(early, step=6)).path
    assert not replay(request(spec(), dataset, row, checkpoint=changed)).verified
    forged = row.model_copy(update={"gradient_checksum": "0" * 32})
    assert not replay(request(spec(), dataset, forged)).verified


def test_checkpoint_that_is_torn_or_too_late_is_refused(
    dataset: Path, done: list[StepRow], job_directory: Path
) -> None:
    path = max(job_directory.glob("step-*"))
    with pytest.raises(BadCheckpoint, match="of step 20"):
        replay(request(spec(), dataset, done[19], checkpoint=path))
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(BadCheckpoint, match="can't be read"):
        replay(request(spec(), dataset, done[19], checkpoint=path))


COMMAND = (sys.executable, "-m", "batchgrad_engine.replay")


def test_process_answers_with_one_line(dataset: Path, job_directory: Path) -> None:
    (row, *_) = trained(spec(), dataset, job_directory)
    torn = job_directory / "torn"
    torn.write_bytes(b"")
    for checkpoint in (None, torn):
        with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            given = request(spec(), dataset, row, checkpoint=checkpoint)
            process.stdin.write(given.model_dump_json().encode() + b"\n")
            process.stdin.flush()
            answer = Replayed.model_validate_json(process.stdout.read())
        assert process.returncode == 0
        if checkpoint is None:
            assert answer.examples == replay(given)
        else:
            assert "torn" in (answer.bad_checkpoint or "")


def test_process_exits_when_its_stdin_ends(dataset: Path, job_directory: Path) -> None:
    (row, *_) = trained(spec(), dataset, job_directory)
    forever = request(spec(epochs=10**6), dataset, row, step=10**6)
    done = subprocess.run(  # its stdin ends after the request
        COMMAND,
        input=forever.model_dump_json().encode() + b"\n",
        stdout=subprocess.PIPE,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, b"")
