"""The demo against a scripted service: requests, notes and output."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from batchgrad import Client
from batchgrad.contract import JobSpec
from batchgrad.errors import JobCancelled, JobFailed
from batchgrad.user_machine import demo

DIGEST = "sha256:" + "1" * 64


def service_of(script: Any) -> Callable[[], AbstractContextManager[Client]]:
    @contextmanager
    def service() -> Iterator[Client]:
        with script.client() as client:
            yield client

    return service


def few_digits() -> tuple[list[list[float]], list[int]]:
    return [[0.0] * 64] * 2, [0, 1]


def test_the_demo_trains_and_prints_a_summary(kit: Any, capsys: pytest.CaptureFixture[str]) -> None:
    ended = kit.job(status="succeeded", step=18, epoch=2, parameters_digest=DIGEST)
    script = kit.Script(
        kit.answer(201, kit.DATASET),
        kit.answer(201, kit.job(status="queued", queued_because="a worker is starting")),
        kit.answer(200, kit.job()),
        kit.answer(200, ended),
        kit.answer(200, {"data": [kit.STEP, kit.STEP], "next": None}),
    )
    notes: list[str] = []
    result = demo.train(
        demo.spec(2, 1, 3), notes.append, data=few_digits, service=service_of(script)
    )
    sent = JobSpec.model_validate_json(script.seen[1].content)
    assert (sent.workers, sent.threads, sent.epochs, sent.standardize) == (2, 1, 3, True)
    report = demo.report(result)
    assert "Validation accuracy 97.50%" in report
    assert "0.99" in report  # the first layer's own gap
    assert DIGEST in report
    elsewhere = demo.report(result, ".venv/bin/batchgrad")
    assert "`.venv/bin/batchgrad demo --workers 3`" in elsewhere
    assert "\n  .venv/bin/batchgrad serve " in elsewhere
    assert json.loads(json.dumps(demo.summary(result))) == {
        "id": "job_1",
        "status": "succeeded",
        "steps": 18,
        "loss": 0.25,
        "validation_accuracy": 0.975,
        "workers": 2,
        "executor": "ray",
        "examples_per_second": 12345.0,
        "parameters_digest": DIGEST,
        "shortcuts": {
            "averaged_error": {
                "relative_error": 0.5,
                "cosine_similarity": 0.9,
                "norm_ratio": 0.7,
            }
        },
    }
    lines = capsys.readouterr().err.splitlines()
    assert "gap of averaged_error 0.5  " in lines[0]
    assert lines[-1].startswith("succeeded")


def test_a_failed_demo_prints_an_error(kit: Any) -> None:
    failed = kit.job(status="failed", reason="nonfinite")
    script = kit.Script(
        kit.answer(201, kit.DATASET), kit.answer(201, kit.job()), kit.answer(200, failed)
    )
    with pytest.raises(JobFailed, match="nonfinite"):
        demo.train(
            demo.spec(0, None, 3), lambda _: None, data=few_digits, service=service_of(script)
        )


def test_a_demo_without_time_to_end_is_gone(
    kit: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = kit.Script(
        kit.answer(201, kit.DATASET), kit.answer(201, kit.job()), kit.answer(200, kit.job())
    )
    train = partial(demo.train, data=few_digits, service=service_of(script))
    monkeypatch.setattr(demo, "train", train)
    done = run(kit.Script(), "demo", "--workers", "0", "--timeout", "0")
    assert done.exit_code == 101
    assert "The time was over while job job_1 was running" in done.stderr
    assert "its private service is gone" in done.stderr
    assert "goes on" not in done.stderr


def test_ctrl_c_cancels_the_job_before_the_service_stops(kit: Any) -> None:
    def interrupt(_: httpx2.Request) -> httpx2.Response:
        raise KeyboardInterrupt

    cancelling = kit.answer(202, kit.job(status="cancelling"))
    script = kit.Script(
        kit.answer(201, kit.DATASET), kit.answer(201, kit.job()), interrupt, cancelling
    )
    with pytest.raises(JobCancelled):
        demo.train(
            demo.spec(2, None, 3), lambda _: None, data=few_digits, service=service_of(script)
        )
    assert script.seen[-1].url.path == "/v1/jobs/job_1/cancel"


def test_the_command_to_type_is_a_path_where_path_does_not_have_it(tmp_path: Path) -> None:
    folder = tmp_path / ".venv" / "bin"
    folder.mkdir(parents=True)
    python, script = folder / "python", folder / "batchgrad"
    assert demo.command(python, "", tmp_path) == "batchgrad"  # python -m batchgrad, without one
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    assert demo.command(python, "", tmp_path) == ".venv/bin/batchgrad"
    assert demo.command(python, "", tmp_path / "other") == str(script)
    assert demo.command(python, str(folder), tmp_path) == "batchgrad"


def test_the_digits_are_the_real_ones() -> None:
    inputs, targets = demo.digits()
    assert (inputs.shape, str(inputs.dtype), inputs.max()) == ((1797, 64), "float32", 16.0)
    assert sorted(set(targets.tolist())) == list(range(10))
