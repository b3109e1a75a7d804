"""The client and the command line against the real service, without Ray (workers: 0)."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner, Result

import batchgrad
from batchgrad import AsyncClient, Client, errors
from batchgrad.cli.app import app

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Client]:
    with batchgrad.local(folder=folder) as client:
        inputs = np.arange(60.0, dtype=np.float32).reshape(20, 3) / 60
        client.put_arrays("few", inputs, np.arange(20) % 2)
        yield client
    assert list(folder.iterdir()) == []


@pytest.fixture
def run(service: Client, folder: Path) -> Run:
    [file] = folder.glob("*/token")
    token = file.read_text().strip()

    def run(*arguments: str, **more: Any) -> Result:
        return CliRunner().invoke(app, arguments, obj=lambda: Client(service.url, token), **more)

    return run


@pytest.fixture
def spec_file(kit: Any, tmp_path: Path) -> str:
    spec = {**kit.SPEC, "dataset": "few", "batch_size": 7, "workers": 0, "threads": 1}
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump(spec))
    return str(path)


def test_a_job_from_spec_to_parameters(run: Run, spec_file: str, tmp_path: Path) -> None:
    planned = run("submit", spec_file, "--dry-run", "-o", "json")
    assert json.loads(planned.stdout)["steps_planned"] == 9
    watched = run("submit", spec_file, "--watch", "-o", "json")
    assert watched.exit_code == 0
    job = json.loads(watched.stdout)
    assert (job["status"], job["step"], job["executor"]) == ("succeeded", 9, "inline")
    lines = run("events", job["id"], "--follow", "--progress", "-o", "json").stdout.splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["type"] == "end"
    listed = run("events", job["id"], "--progress", "-o", "json").stdout.splitlines()
    assert listed == lines
    target = tmp_path / "theta.npz"
    assert run("download", job["id"], "--to", str(target)).exit_code == 0
    with np.load(target) as parameters:
        assert parameters["0.weight"].shape == (10, 3)
    assert run("cancel", job["id"]).exit_code == 1
    assert job["id"] in run("list", "--status", "succeeded").stdout
    assert run("delete", job["id"]).exit_code == 0
    assert run("get", job["id"]).exit_code == 102


def test_the_same_key_is_the_same_job(service: Client, spec_file: str) -> None:
    spec = yaml.safe_load(Path(spec_file).read_text())
    first = service.submit(spec, idempotency_key="once")
    assert service.submit(spec, idempotency_key="once").id == first.id
    with pytest.raises(errors.InvalidRequest):
        service.submit({**spec, "seed": 5}, idempotency_key="once")
    done = service.wait(first.id, timeout=30)
    last = service.last_step(first.id)
    assert last is not None
    assert (last.loss, last.step) == (done.loss, list(service.steps(first.id))[-1].step)
    assert service.checkpoints(first.id)[0].parameters_digest == done.parameters_digest


def test_the_same_with_asyncio_and_a_task_that_is_cancelled(
    service: Client, folder: Path, spec_file: str
) -> None:
    [file] = folder.glob("*/token")
    spec = yaml.safe_load(Path(spec_file).read_text())

    async def main() -> None:
        async with AsyncClient(service.url, file.read_text()) as client:
            one, endless = await asyncio.gather(
                client.submit(spec), client.submit({**spec, "epochs": 10**6})
            )
            waiting = asyncio.create_task(client.wait(endless.id))
            kinds = [event.type async for event in client.events(one.id, follow=True)]
            assert kinds[-1] == "end"
            changes = [job async for job in client.watch(one.id)]
            assert (changes[-1].status, changes[-1].step) == ("succeeded", 9)
            async for event in client.events(endless.id, follow=True, progress=True):
                if event.type == "progress":
                    break
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await client.cancel(endless.id)
            with pytest.raises(errors.JobCancelled):
                await client.wait(endless.id, timeout=30)
            assert endless.id in [job.id async for job in client.jobs(status="cancelled")]

    asyncio.run(main())


def test_errors_name_the_field(run: Run, spec_file: str) -> None:
    refused = run("submit", spec_file, "--set", "dataset=none")
    assert refused.exit_code == 2
    assert refused.stderr.count("'none'") == 1
    assert "dataset: There is no dataset 'none': `batchgrad datasets list`" in refused.stderr
    assert refused.stderr.endswith("(by --set)\n")


def test_the_question_and_the_version(run: Run) -> None:
    request = {
        "model": {"layers": [{"kind": "linear", "out_features": 1}, {"kind": "sigmoid"}]},
        "loss": "linear_error",
        "inputs": [[0.0], [1.0]],
        "targets": [0.0, 0.0],
        "parameters": {"0.weight": [[1.0]], "0.bias": [0.0]},
    }
    answered = json.loads(run("gradients", "-", "-o", "json", input=json.dumps(request)).stdout)
    assert answered["mean_gradient"]["0.bias"][0] == pytest.approx(-0.2233, abs=1e-4)
    shortcut = answered["shortcuts"]["averaged_error"]
    assert shortcut["gradient"]["0.bias"][0] == pytest.approx(-0.2350, abs=1e-4)
    assert json.loads(run("version", "-o", "json").stdout)["service"]["api"] == "1"


def test_the_demo_command_succeeds(tmp_path: Path) -> None:
    flags = ["--workers", "0", "--epochs", "4", "--output", "json"]
    done = subprocess.run(
        [sys.executable, "-m", "batchgrad", "demo", *flags],
        capture_output=True,
        check=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
    )
    (line,) = done.stdout.splitlines()
    result = json.loads(line)
    assert (result["status"], result["steps"], result["executor"]) == ("succeeded", 24, "inline")
    assert result["validation_accuracy"] > 0.9
    assert set(result["shortcuts"]["averaged_error"]) == {
        "relative_error",
        "cosine_similarity",
        "norm_ratio",
    }
    assert "‖covariance‖" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_large_file_is_uploaded_and_read_with_progress(
    run: Run, service: Client, folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "large.npz"
    np.savez(file, inputs=np.ones((30_000, 10), np.float32), targets=np.arange(30_000) % 3)
    pushed = run("datasets", "push", "large", str(file), "--dry-run", "-o", "json")
    assert json.loads(pushed.stdout)["classes"] == 3, pushed.stderr
    with pytest.raises(errors.NotFound):
        service.dataset("large")
    told: list[str] = []
    stored = service.put_dataset("large", file, on_progress=lambda stage, *_: told.append(stage))
    assert stored.examples == 30_000
    assert {"hash", "read"} <= set(told)
    assert service.dataset("large") == stored
    first, second = service.operations()
    assert (first.status, first.rows, second.status) == ("succeeded", 30_000, "succeeded")
    uploads = list(folder.glob("**/uploads/*"))
    assert [path.stat().st_size for path in uploads] == [file.stat().st_size]
    for one in (first, second):
        service.cancel_operation(one.id)
    assert list(service.operations()) == []
    service.delete_dataset("large")


def test_a_table_is_pushed_from_a_file_and_a_frame(
    run: Run, service: Client, tmp_path: Path
) -> None:
    file = tmp_path / "customers.csv"
    rows = [
        f"{n},{n / 7},{'north' if n % 3 else 'south'},{'yes' if n % 2 else 'no'}" for n in range(60)
    ]
    file.write_text("id,usage,region,churned\n" + "\n".join(rows))
    wrong = run("datasets", "push", "customers", str(file), "--target", "churn")
    assert wrong.exit_code == 2
    assert "churned" in wrong.stderr
    pushed = run("datasets", "push", "customers", str(file), "--target", "churned", "--id", "id")
    assert pushed.exit_code == 0, pushed.stderr
    for text in ("customers", "region", "category", "2: north, south", "Classes: no, yes."):
        assert text in pushed.stdout + pushed.stderr
    table = service.dataset("customers").table
    assert table is not None
    assert [column.name for column in table.inputs] == ["usage", "region"]
    refused = run("datasets", "push", "customers", str(file), "--target", "region")
    assert "already has another content" in refused.stderr
    frame = pd.read_csv(file)
    again = service.put_dataset("customers", frame, target="churned", id="id")
    assert again.examples == 60
    service.delete_dataset("customers")


def test_arrays_of_any_names_are_pushed_and_listed(
    service: Client, run: Run, kit: Any, tmp_path: Path
) -> None:
    rows = {"input_ids": [[5, 6, 7], [8]], "labels": [[1, 2, 3], [4]]}
    would_be = service.put_dataset("text", rows, pad=True, dry_run=True)  # by an operation
    text = service.put_dataset("text", rows, pad=True)
    assert would_be.arrays == text.arrays
    assert [(each.name, each.shape) for each in text.arrays] == [
        ("attention_mask", [2, 3]),
        ("input_ids", [2, 3]),
        ("labels", [2, 3]),
    ]

    np.save(tmp_path / "image.npy", np.zeros((4, 3, 8, 8), np.uint8))
    np.save(tmp_path / "is_glasses.npy", np.array([True, False, True, True]))
    run("datasets", "push", "faces", str(tmp_path))
    shown = run("datasets", "show", "faces").stdout
    assert "(4, 3, 8, 8)" in shown
    assert shown.split()[-3:] == ["is_glasses", "bool", "(4,)"]
    assert json.loads(run("datasets", "show", "faces", "-o", "json").stdout)["target_kind"] is None
    refused = run("spec", "faces")
    assert refused.exit_code != 0
    assert "has the arrays image, is_glasses" in refused.stderr
    with pytest.raises(errors.InvalidRequest, match="network of layers is trained on inputs"):
        service.plan({**kit.SPEC, "dataset": "faces"})
