"""Submitting a job and waiting for its end, on the command line."""

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml


def test_submit_prints_the_id_to_stdout_and_next_commands_to_stderr(
    kit: Any, run: Any, spec_file: str
) -> None:
    created = kit.answer(201, kit.job(warnings=["No minimum."]))
    done = run(kit.Script(created), "submit", spec_file, "--set", "seed=4")
    assert (done.exit_code, done.stdout) == (0, "job_1\n")
    assert "warning: No minimum." in done.stderr
    assert "batchgrad wait job_1" in done.stderr


def test_submit_sends_the_spec_with_its_overrides(kit: Any, run: Any, spec_file: str) -> None:
    script = kit.Script(kit.answer(201, kit.job()))
    done = run(script, "submit", spec_file, "--set", "seed=4", "--output", "json")
    assert json.loads(script.seen[0].content) == {**kit.SPEC, "seed": 4}
    assert json.loads(done.stdout)["id"] == "job_1"


def test_submit_from_standard_input(kit: Any, run: Any) -> None:
    script = kit.Script(kit.answer(201, kit.job()))
    assert run(script, "submit", "-", input=yaml.safe_dump(kit.SPEC)).exit_code == 0
    assert json.loads(script.seen[0].content) == kit.SPEC


def test_a_wrong_spec_sends_nothing(kit: Any, run: Any, spec_file: str) -> None:
    script = kit.Script(kit.answer(201, kit.job()))
    done = run(script, "submit", spec_file, "--set", "batch_size=0")
    assert done.exit_code == 2
    assert "  batch_size: got 0; expected full, or at least 1. (by --set)\n" in done.stderr
    assert script.seen == []


def test_a_missing_key_is_named_once(kit: Any, run: Any, tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump({**kit.SPEC, "batchsize": kit.SPEC["batch_size"]}))
    path.write_text(path.read_text().replace("batch_size: 256\n", ""))
    done = run(kit.Script(kit.answer(201, kit.job())), "submit", str(path))
    assert "  batch_size is required: add it.\n" in done.stderr
    assert "did you mean batch_size? (line 1)" in done.stderr


def test_dry_run_shows_the_plan(kit: Any, run: Any, spec_file: str) -> None:
    plan = {
        "dataset_digest": "sha256:0",
        "training_examples": 1438,
        "validation_examples": 359,
        "parameters": 650,
        "layers": [{"name": "0", "kind": "linear", "output_shape": [10], "parameters": 650}],
        "steps_planned": 18,
        "steps_per_epoch": 6,
        "microbatches_per_step": 2,
        "microbatch_size": 128,
        "shortcuts": ["averaged_error"],
        "gradient_bytes": 2600,
        "memory_bytes": 100_000_000,
        "classes": None,
        "warnings": [],
        "torch": None,
        "privacy": None,
    }
    script = kit.Script(kit.answer(200, plan))
    done = run(script, "submit", spec_file, "--dry-run")
    assert script.seen[0].url.path == "/v1/plans"
    assert "1438 to train, 359 to validate" in done.stdout
    assert "95.4 MiB in each process, with one thread" in done.stdout
    assert "the last parameters" in done.stdout
    assert "chosen by the service, threads chosen by measuring" in done.stdout
    few = run(script, "submit", spec_file, "--dry-run", "--set", "workers=2", "--set", "threads=1")
    assert "2 Ray workers, 1 thread each" in few.stdout
    changes = ["optimizer.learning_rate=0.05", "optimizer.momentum=0.9", "seed=7"]
    best = run(script, "submit", spec_file, "--dry-run", "--set", "validation_fraction=0.2")
    assert "the parameters of the best evaluation, by validation loss" in best.stdout
    sets = [text for change in changes for text in ("--set", change)]
    changed = run(script, "submit", spec_file, "--dry-run", *sets)
    rows = [line.split(maxsplit=1) for line in changed.stdout.splitlines()]
    assert ["optimizer", "sgd, learning_rate 0.05, momentum 0.9, constant schedule"] in rows
    assert [value for name, value in rows if name == "set"] == changes
    as_yaml = run(script, "submit", spec_file, "--dry-run", "-o", "yaml")
    assert yaml.safe_load(as_yaml.stdout) == plan


def test_dry_run_tells_how_a_task_is_computed(kit: Any, run: Any, tmp_path: Path) -> None:
    file = tmp_path / "task.yaml"
    file.write_text(
        "{name: x, dataset: d, model: {torch: 'mine:build'}, batch_size: 4, epochs: 1, "
        "optimizer: {kind: sgd, learning_rate: 0.1}}"
    )
    parameter = {"name": "first.weight", "shape": [2, 3], "trainable": False}
    plan = {
        "dataset_digest": "sha256:0",
        "training_examples": 8,
        "validation_examples": 0,
        "parameters": 10,
        "layers": [{"name": "head", "kind": "Linear", "output_shape": [2], "parameters": 10}],
        "steps_planned": 2,
        "steps_per_epoch": 2,
        "microbatches_per_step": 1,
        "microbatch_size": 4,
        "shortcuts": [],
        "gradient_bytes": 40,
        "memory_bytes": 300_000_000,
        "warnings": [],
        "torch": {
            "function": "mine:build",
            "path": "one_by_one",
            "why": "The forward pass decides by the data.",
            "uncovered": [f"part{number}" for number in range(12)],
            "random": ["dropout"],
            "parameters": [parameter, {**parameter, "name": "head.weight", "trainable": True}],
            "unavailable": {"mean_example": "no layer's inputs are known"},
            "source_digest": "sha256:1",
        },
    }
    done = run(kit.Script(kit.answer(200, plan)), "submit", str(file), "--dry-run")
    rows = [line.split("  ", maxsplit=1) for line in done.stdout.splitlines()]
    found = {name: value.strip() for name, value in rows}
    assert found["task"] == "mine:build"
    assert found["computed"] == "one by one. The forward pass decides by the data."
    assert found["layers"] == "head Linear → (2,)"
    assert found["frozen"] == "first.weight"
    assert found["random"] == "dropout"
    assert found["without formula"].endswith("part8, part9, …")
    assert found["not measured"] == "mean_example: no layer's inputs are known"


@pytest.mark.parametrize(
    ("status", "code"), [("succeeded", 0), ("failed", 100), ("cancelled", 103)]
)
def test_wait_and_watch_exit_as_the_job_ended(
    kit: Any, run: Any, spec_file: str, status: str, code: int
) -> None:
    running = kit.answer(200, kit.job())
    ended = kit.answer(200, kit.job(status=status, step=18, reason=None))
    waited = run(kit.Script(running, ended), "wait", "job_1", "--output", "json")
    assert waited.exit_code == code
    assert json.loads(waited.stdout)["status"] == status
    watched = run(kit.Script(running, running, ended), "submit", spec_file, "--watch")
    assert watched.exit_code == code
    assert watched.stdout.startswith("job_1\n")
    assert status in watched.stdout
    assert "step 7/18" in watched.stderr  # lines, where no terminal is


def test_wait_gives_up_with_101(kit: Any, run: Any) -> None:
    done = run(kit.Script(kit.answer(200, kit.job())), "wait", "job_1", "--timeout", "0")
    assert done.exit_code == 101
    assert "it goes on" in done.stderr
    assert "running" in done.stdout


def test_ctrl_c_detaches_and_never_cancels(kit: Any, run: Any) -> None:
    def interrupt(_: httpx2.Request) -> httpx2.Response:
        raise KeyboardInterrupt

    for arguments in (["wait", "job_1"], ["events", "job_1", "--follow"]):
        script = kit.Script(interrupt)
        done = run(script, *arguments)
        assert done.exit_code == 101
        assert "batchgrad wait job_1" in done.stderr
        assert [request.method for request in script.seen] == ["GET"]


def test_a_failed_job_gives_its_reason_once(kit: Any, run: Any) -> None:
    failed = kit.job(status="failed", reason="nonfinite", detail="Example 3 has no finite loss.")
    table = run(kit.Script(kit.answer(200, failed)), "wait", "job_1")
    assert (table.stdout + table.stderr).count("Example 3") == 1
    assert "failed at step 7: nonfinite" in table.stderr
    data = run(kit.Script(kit.answer(200, failed)), "wait", "job_1", "-o", "json")
    assert "Example 3" in data.stderr


def test_a_paused_job_is_not_waited_for(kit: Any, run: Any) -> None:
    paused = kit.answer(200, kit.job(status="paused"))
    script = kit.Script(kit.answer(200, kit.job()), paused)
    done = run(script, "wait", "job_1", "--timeout", "9")
    assert done.exit_code == 101
    assert "batchgrad resume job_1" in done.stderr


def test_a_lost_service_prints_how_to_watch_the_job_again(kit: Any, run: Any) -> None:
    gone = httpx2.ConnectError("refused")
    waited = run(kit.Script(kit.answer(200, kit.job()), gone), "wait", "job_1")
    assert waited.exit_code == 101
    assert waited.stderr.count("trying again for a minute") == 1
    assert "goes on when the service is back" in waited.stderr
    assert "batchgrad wait job_1" in waited.stderr


def test_a_refused_spec_is_reported_once_with_its_line(kit: Any, run: Any, spec_file: str) -> None:
    message = "targets holds class 9, the network has 3 output(s)."
    script = kit.Script(kit.problem(422, "invalid_request", message, ("/model/layers", message)))
    done = run(script, "submit", spec_file)
    line = Path(spec_file).read_text().splitlines().index("  layers:") + 1
    assert (done.exit_code, done.stderr) == (
        2,
        f"batchgrad: model.layers: {message} (line {line})\n",
    )
