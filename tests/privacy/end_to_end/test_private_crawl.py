"""Two private jobs whose datasets differ in one row show the same, but for noisy parameters."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from batchgrad.user_machine.private_service import private_service
from tests.privacy.end_to_end.crawling import crawled, files

KEY = "ab" * 32
SPEC = {
    "name": "private",
    "dataset": "rows",
    "model": {
        "layers": [
            {"kind": "linear", "out_features": 5},
            {"kind": "relu"},
            {"kind": "linear", "out_features": 3},
        ]
    },
    "loss": "softmax_cross_entropy",
    "optimizer": {"kind": "sgd", "learning_rate": 0.1},
    "batch_size": 40,
    "microbatch_size": 10,
    "steps": 30,
    "validation_fraction": 0.2,
    "workers": 0,
    "threads": 1,
    "checkpoint_interval_seconds": 1000,
    "privacy": {
        "delta": 1e-4,
        "noise_multiplier": 2.0,
        "clip_norm": 0.5,
        "validation": "public",
        "accountant": "rdp",
    },
}


@dataclass
class Shown:
    """What a service shows of the job over HTTP, and its files; its parameters' digest."""

    answers: dict[str, Any]
    files: dict[str, str]
    digest: str | None


def shown(folder: Path, inputs: Any, targets: Any) -> Shown:
    """Train in a service under a fixed key, and read everything that tells of the job."""
    folder.mkdir()
    log = folder / "service.log"
    command = f'BATCHGRAD_UNSAFE_PRIVACY_KEY={KEY} exec "$@" 2>{log}'
    serve = ("sh", "-c", command, "sh", sys.executable, "-m", "batchgrad", "serve")
    with private_service(serve, folder=folder) as client:
        client.put_arrays("rows", inputs, targets)
        job = client.wait(client.submit(SPEC).id, timeout=60)
        assert job.status == "succeeded"
        [token] = folder.glob("*/token")
        headers = {"Authorization": f"Bearer {token.read_text().strip()}"}
        with httpx2.Client(base_url=client.url, headers=headers, timeout=20) as http:
            answers = crawled(http, job.id)
        return Shown(answers, files(folder), job.last_parameters_digest)


@pytest.fixture(scope="module")
def neighbours(tmp_path_factory: pytest.TempPathFactory) -> tuple[Shown, Shown]:
    """A row whose gradient overflows, which is dropped, and the same row as zeros."""
    random = np.random.default_rng(0)
    inputs = random.normal(size=(200, 6)).astype(np.float32)
    targets = random.integers(0, 3, 200)
    folder = tmp_path_factory.mktemp("neighbours")
    one, other = inputs.copy(), inputs.copy()
    one[7], other[7] = 3e38, 0
    return shown(folder / "one", one, targets), shown(folder / "other", other, targets)


def test_answers_pages_and_metrics_are_the_same(neighbours: tuple[Shown, Shown]) -> None:
    one, other = neighbours
    assert one.digest != other.digest  # the row was in a minibatch
    assert len(one.answers) >= 14
    assert one.answers.keys() == other.answers.keys()
    for path in one.answers:
        assert one.answers[path] == other.answers[path], path


def test_logs_and_files_are_the_same(neighbours: tuple[Shown, Shown]) -> None:
    one, other = neighbours
    names = " ".join(one.files)
    for expected in ("service.log", "engine.log", "charges.jsonl", ".safetensors"):
        assert expected in names
    assert one.files == other.files


def test_rows_and_the_job_have_nothing_of_the_sample(neighbours: tuple[Shown, Shown]) -> None:
    answers = neighbours[0].answers
    rows = answers["/v1/jobs/{job_id}/steps"][1]["data"]
    assert len(rows) == 30
    for row in rows:
        for hidden in ("loss", "noise_scale", "weight", "norm_test", "norms"):
            assert row[hidden] is None, hidden
        assert (row["phases"], row["shortcuts"]) == ({}, {})
    assert answers["/v1/jobs/{job_id}"][1]["loss"] is None
    assert not [line for line in answers["/metrics"] if line.startswith("batchgrad_job_loss{")]
    for path in ("examples", "steps/{step}/examples"):
        status, problem = answers[f"/v1/jobs/{{job_id}}/{path}"]
        assert (status, problem["code"]) == (409, "private_job")
