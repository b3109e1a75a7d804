"""`run`, `ready` and `version`: what scripts type, against a scripted service."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import Result

from batchgrad import Client

Run = Callable[..., Result]


def answers(kit: Any, *jobs: Any) -> Any:
    return kit.Script(kit.answer(200, kit.DATASET), kit.answer(201, kit.job()), *jobs)


def test_run_stores_data_submits_follows_and_writes_parameters(
    kit: Any, run: Run, spec_file: str, tmp_path: Path
) -> None:
    file, to = tmp_path / "digits.npz", tmp_path / "theta.npz"
    file.write_bytes(b"npz")
    known, ended = kit.answer(200, kit.DATASET), kit.answer(200, kit.job(status="succeeded"))
    content = httpx2.Response(200, content=b"theta")
    script = kit.Script(known, known, kit.answer(201, kit.job()), ended, content)
    done = run(script, "run", spec_file, "--data", f"digits={file}", "--to", str(to))
    assert done.exit_code == 0, done.output
    asked = [f"{request.method} {request.url.path}" for request in script.seen]
    assert asked[:4] == [
        "PUT /v1/datasets/digits",
        "GET /v1/datasets/digits",
        "POST /v1/jobs",
        "GET /v1/jobs/job_1",
    ]
    assert to.read_bytes() == b"theta"
    assert done.stdout.startswith("job_1\n")
    assert "succeeded" in done.stdout


@pytest.mark.parametrize("data", ["digits", "digits=nowhere.npz", "=x.npz"])
def test_data_that_cannot_be_stored_are_a_usage_error(
    kit: Any, run: Run, spec_file: str, data: str
) -> None:
    script = answers(kit)
    done = run(script, "run", spec_file, "--data", data)
    assert (done.exit_code, script.seen) == (2, [])
    assert "expected NAME=FILE" in " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("status", "code"), [("succeeded", 0), ("failed", 100), ("cancelled", 103)]
)
def test_a_private_service_is_gone_afterwards(
    kit: Any, run: Run, private: Any, spec_file: str, status: str, code: int
) -> None:
    seen = private(answers(kit, kit.answer(200, kit.job(status=status))))
    done = run(kit.Script(httpx2.ConnectError("not this one")), "run", "--private", spec_file)
    assert (done.exit_code, seen) == (code, ["started", "gone"])
    assert status in done.stdout


def test_a_private_job_does_not_go_on_after_the_time(
    kit: Any, run: Run, private: Any, spec_file: str
) -> None:
    seen = private(answers(kit, kit.answer(200, kit.job())))
    done = run(Unused(), "run", "--private", spec_file, "--timeout", "0", "-o", "json")
    assert (done.exit_code, seen) == (101, ["started", "gone"])
    assert "while job job_1 was running, at step 7 of 18; its private service is" in done.stderr
    assert "goes on" not in done.stderr
    assert json.loads(done.stdout)["status"] == "running"


def test_ctrl_c_ends_a_private_job(kit: Any, run: Run, private: Any, spec_file: str) -> None:
    def interrupt(_: httpx2.Request) -> httpx2.Response:
        raise KeyboardInterrupt

    seen = private(answers(kit, interrupt))
    done = run(Unused(), "run", "--private", spec_file)
    assert (done.exit_code, seen) == (103, ["started", "gone"])
    assert "the private service is gone" in done.stderr


class Unused:
    """A script that must not be asked."""

    def client(self) -> Client:
        raise AssertionError


def test_ready_waits_for_the_service(kit: Any, run: Run) -> None:
    starting = [httpx2.ConnectError("refused"), kit.answer(503)]
    script = kit.Script(*starting, kit.answer(200))
    done = run(script, "ready", "--timeout", "30")
    assert (done.exit_code, done.stdout, len(script.seen)) == (0, "ready\n", 3)
    assert {request.url.path for request in script.seen} == {"/readyz"}


def test_ready_gives_up_with_a_remedy(kit: Any, run: Run) -> None:
    done = run(kit.Script(kit.answer(503)), "ready", "--timeout", "0", "-o", "json")
    assert done.exit_code == 1
    assert json.loads(done.stdout) == {"url": "http://service", "ready": False}
    assert "No service is ready at http://service after 0 s" in done.stderr
    assert "batchgrad serve" in done.stderr


@pytest.mark.parametrize(
    ("answer", "remedy"),
    [
        (httpx2.ConnectError("refused"), "batchgrad serve"),
        (httpx2.Response(200, content=b"<html>"), "Is this a batchgrad service"),
        (httpx2.Response(404, content=b"nothing"), ""),
    ],
)
def test_version_fails_without_a_service_but_names_the_client(
    kit: Any, run: Run, answer: Any, remedy: str
) -> None:
    done = run(kit.Script(answer), "version")
    assert done.exit_code == 1
    assert done.stdout.startswith("client")
    assert "batchgrad: " in done.stderr
    assert remedy in done.stderr
