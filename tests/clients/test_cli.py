"""The command line against a scripted service: outputs, messages and exit codes."""

import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import httpx2
import pytest
import yaml
from typer.testing import CliRunner, Result

from batchgrad import __version__
from batchgrad.cli.app import app
from batchgrad.contract import GradientsRequest, JobSpec, Loss
from batchgrad.contract.model import AnyLayer
from batchgrad.reference import REQUEST_EXAMPLE
from batchgrad.specs import load_gradients


@pytest.fixture
def run() -> Callable[..., Result]:
    def run(script: Any, *arguments: str, **more: Any) -> Result:
        return CliRunner().invoke(app, list(arguments), obj=script.client, **more)

    return run


@pytest.fixture
def spec_file(kit: Any, tmp_path: Path) -> str:
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump(kit.SPEC))
    return str(path)


def test_submit_prints_the_id_alone_and_the_next_commands_aside(
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
        "warnings": [],
    }
    script = kit.Script(kit.answer(200, plan))
    done = run(script, "submit", spec_file, "--dry-run")
    assert script.seen[0].url.params["dry_run"] == "true"
    assert "1438 to train, 359 to validate" in done.stdout
    assert "chosen by the service, threads chosen by measuring" in done.stdout
    few = run(script, "submit", spec_file, "--dry-run", "--set", "workers=2", "--set", "threads=1")
    assert "2 Ray workers, 1 thread each" in few.stdout
    as_yaml = run(script, "submit", spec_file, "--dry-run", "-o", "yaml")
    assert yaml.safe_load(as_yaml.stdout) == plan


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


def test_errors_are_sentences_with_their_exit_codes(kit: Any, run: Any) -> None:
    missing = run(kit.Script(kit.problem(404, "not_found", "No job job_9.")), "get", "job_9")
    assert (missing.exit_code, missing.stderr) == (102, "batchgrad: No job job_9.\n")
    refused = run(kit.Script(kit.problem(409, "odd", "It is odd.")), "cancel", "job_1")
    assert refused.exit_code == 1
    silent = run(kit.Script(httpx2.ConnectError("refused")), "get", "job_1")
    assert silent.exit_code == 1
    assert "batchgrad serve" in silent.stderr
    for usage in (["get"], ["list", "--status", "odd"], ["nonsense"], ["get", "x", "-o", "xml"]):
        assert run(kit.Script(kit.answer(200)), *usage).exit_code == 2


def test_get_and_list_are_tables_or_data(kit: Any, run: Any) -> None:
    shown = run(kit.Script(kit.answer(200, kit.job())), "get", "job_1").stdout
    assert "7 of 18" in shown
    assert "97.50%" in shown
    for name, value in {
        "gap of averaged_error": "0.5",
        "cosine of averaged_error": "0.9",
        "noise scale": "undetermined",
        "runs on": "2 Ray workers, 1 thread each",
        "examples/s": "12,345",
    }.items():
        assert f"{name:<24}  {value}\n" in shown
    inline = kit.answer(200, kit.job(executor="inline", workers=0))
    assert "  inline, 1 thread\n" in run(kit.Script(inline), "get", "job_1").stdout
    page = {"data": [kit.job(name="n" * 90), kit.job(id="job_2")], "next": None}
    listed = run(kit.Script(kit.answer(200, page)), "list", "--limit", "1")
    assert "n" * 90 in listed.stdout  # nothing is cut off where no terminal is
    assert "job_2" not in listed.stdout
    as_yaml = run(kit.Script(kit.answer(200, page)), "list", "-o", "yaml", "--status", "running")
    assert [job["id"] for job in yaml.safe_load(as_yaml.stdout)] == ["job_1", "job_2"]


def test_events_are_sentences(kit: Any, run: Any) -> None:
    progress = {
        "step": 7,
        "steps_planned": 18,
        "epoch": 1,
        "loss": 0.25,
        "shortcuts": {"averaged_error": 0.5},
        "gradient_norm": 1.5,
        "examples_per_second": 1234.5,
    }
    plan = {
        "training_examples": 1438,
        "parameters": 4810,
        "steps_planned": 180,
        "microbatches_per_step": 4,
        "microbatch_size": 64,
    }
    happened = [
        ("state", {"status": "queued", "reason": None}),
        ("plan", plan),
        ("progress", progress),
        ("checkpoint", {"step": 7, "bytes": 40960, "parameters_digest": "sha256:" + "ab" * 32}),
        ("evaluation", {"step": 7, "validation_loss": 0.5, "validation_accuracy": None}),
        ("state", {"status": "failed", "reason": "nonfinite", "detail": "Example 3 overflowed."}),
        ("retry", {"new": {"from": None}}),
    ]
    events = [
        {"seq": seq, "time": kit.TIME, "type": kind, "data": data}
        for seq, (kind, data) in enumerate(happened, start=1)
    ]
    script = kit.Script(kit.answer(200, {"data": events, "next": None}))
    lines = run(script, "events", "job_1").stdout.splitlines()
    assert lines[0].split() == ["1", "2026-01-02", "03:04:05", "state", "queued"]
    assert [line.split(None, 4)[-1] for line in lines] == [
        "queued",
        "180 steps over 1438 examples, 4810 parameters, 4 microbatches of 64 a step",
        "step 7: 40 KiB, parameters sha256:abababababab",
        "step 7: validation loss 0.5",
        "failed: nonfinite. Example 3 overflowed.",
        'new {"from": null}',
    ]
    everything = run(script, "events", "job_1", "--all").stdout
    assert "step 7/18, epoch 1: loss 0.25, gap of averaged_error 0.5, 1,234 ex" in everything
    as_json = run(script, "events", "job_1", "-o", "json").stdout.splitlines()
    assert [json.loads(line)["seq"] for line in as_json] == [1, 2, 3, 4, 5, 6, 7]


def test_empty_lists_say_what_is_next(kit: Any, run: Any) -> None:
    nothing = kit.answer(200, {"data": [], "next": None})
    assert "batchgrad submit" in run(kit.Script(nothing), "list").stderr
    assert "batchgrad datasets push" in run(kit.Script(nothing), "datasets", "list").stderr
    assert run(kit.Script(nothing), "list", "-o", "json").stdout == "[]\n"


def test_actions_say_the_new_status(kit: Any, run: Any, tmp_path: Path) -> None:
    for action, status in [("cancel", "cancelling"), ("pause", "pausing"), ("resume", "queued")]:
        script = kit.Script(kit.answer(202, kit.job(status=status)))
        assert run(script, action, "job_1").stdout == f"{status}\n"
        assert script.seen[0].url.path == f"/v1/jobs/job_1/{action}"
    script = kit.Script(httpx2.Response(204))
    assert run(script, "delete", "job_1").exit_code == 0
    assert script.seen[0].method == "DELETE"
    target = tmp_path / "theta.npz"
    script = kit.Script(kit.answer(200, kit.job()), httpx2.Response(200, content=b"bytes"))
    done = run(script, "download", "job_1", "--to", str(target))
    assert (done.stdout, done.stderr) == (f"{target}\n", "")
    assert script.seen[1].url.params["format"] == "npz"
    script = kit.Script(kit.answer(200, kit.job()), httpx2.Response(200, content=b"bytes"))
    nowhere = run(script, "download", "job_1", "--to", str(tmp_path / "none" / "theta.npz"))
    assert nowhere.exit_code == 1
    assert "No such file" in nowhere.stderr


@pytest.mark.parametrize(
    ("file", "flags", "said"),
    [
        ("theta.safetensors", [], "safe_open(FILE, 'numpy').metadata()['batchgrad']"),
        ("theta.npz", [], "standardize.mean and standardize.deviation"),
        ("theta.npz", ["--fold"], "give the network raw inputs"),
    ],
)
def test_a_download_says_how_inputs_were_standardized(
    kit: Any, run: Any, tmp_path: Path, file: str, flags: list[str], said: str
) -> None:
    trained = kit.answer(200, kit.job(spec={**kit.SPEC, "standardize": True}))
    script = kit.Script(trained, httpx2.Response(200, content=b"bytes"))
    done = run(script, "download", "job_1", "--to", str(tmp_path / file), *flags)
    assert said in done.stderr
    assert script.seen[1].url.params.get("fold") == ("true" if flags else None)


def test_datasets_are_pushed_listed_deleted(kit: Any, run: Any, tmp_path: Path) -> None:
    stored = {
        "name": "digits",
        "digest": "sha256:0",
        "examples": 2,
        "input_shape": [64],
        "input_dtype": "float32",
        "target_kind": "classes",
        "classes": 10,
        "weighted": False,
        "bytes": 3,
        "created_at": kit.TIME,
    }
    file = tmp_path / "digits.npz"
    file.write_bytes(b"npz")
    pushed = run(kit.Script(kit.answer(201, stored)), "datasets", "push", "digits", str(file))
    assert "10 classes" in pushed.stdout
    page = kit.answer(200, {"data": [stored], "next": None})
    listed = run(kit.Script(page), "datasets", "list", "-o", "json")
    assert json.loads(listed.stdout)[0]["name"] == "digits"
    script = kit.Script(httpx2.Response(204))
    assert run(script, "datasets", "delete", "digits").exit_code == 0
    assert script.seen[0].url.path == "/v1/datasets/digits"


def test_gradients_shows_every_shortcut_by_layer(kit: Any, run: Any) -> None:
    request = {
        "model": {"layers": [{"kind": "linear", "out_features": 1}]},
        "loss": "squared_error",
        "inputs": [[1.0]],
        "targets": [1.0],
    }
    answered = {
        "loss": 0.5,
        "examples": 1,
        "mean_gradient": {"0.weight": [[1.0]]},
        "norms": [1.0],
        "shortcuts": {
            "averaged_error": {
                **kit.STEP["shortcuts"]["averaged_error"],
                "gradient": {"0.weight": [[1.75]]},
            },
        },
        "depths": [],
        "noise_scale": {"trace": None, "signal": None, "simple": None},
    }
    script = kit.Script(kit.answer(200, answered))
    shown = run(script, "gradients", "-", input=json.dumps(request))
    assert json.loads(script.seen[0].content) == request
    assert "averaged_error" in shown.stdout
    assert "0.125" in shown.stdout
    assert "91% / 9%" in shown.stdout  # of 1.25 and 0.125
    assert "0 is exact" in shown.stdout
    assert "undetermined" in shown.stdout
    row = next(line for line in shown.stdout.splitlines() if "0.weight" in line)
    assert row.split() == ["0.weight", "1", "1.75"]


def test_version_tells_what_it_knows(kit: Any, run: Any) -> None:
    known = {
        "version": "0.1.0",
        "api": "1",
        "python": "3.11",
        "numpy": "2",
        "cpu_architecture": "Zen",
    }
    shown = run(kit.Script(kit.answer(200, known)), "version", "-o", "json")
    assert json.loads(shown.stdout)["service"] == known
    alone = run(kit.Script(httpx2.ConnectError("refused")), "version")
    assert alone.exit_code == 0
    assert alone.stdout.startswith("client")
    assert "No answer" in alone.stderr


def test_a_failed_job_tells_why_once(kit: Any, run: Any) -> None:
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


def test_a_service_that_went_away_leaves_the_way_back(kit: Any, run: Any) -> None:
    gone = httpx2.ConnectError("refused")
    waited = run(kit.Script(kit.answer(200, kit.job()), gone), "wait", "job_1")
    assert waited.exit_code == 101
    assert waited.stderr.count("trying again for a minute") == 1
    assert "goes on when the service is back" in waited.stderr
    assert "batchgrad wait job_1" in waited.stderr


def test_a_refused_spec_is_told_once_with_its_line(kit: Any, run: Any, spec_file: str) -> None:
    said = "targets holds class 9, the network has 3 output(s)."
    script = kit.Script(kit.problem(422, "invalid_request", said, ("/model/layers", said)))
    done = run(script, "submit", spec_file)
    line = Path(spec_file).read_text().splitlines().index("  layers:") + 1
    assert (done.exit_code, done.stderr) == (2, f"batchgrad: model.layers: {said} (line {line})\n")


@pytest.mark.parametrize(
    ("problem", "arguments", "said"),
    [
        (
            (404, "job_not_found", "There is no job 'j'; GET /v1/jobs lists those there are."),
            ["get", "j"],
            "There is no job 'j': `batchgrad list` shows those there are.",
        ),
        (
            (409, "job_not_finished", "Job j is paused: only a finished job can be deleted."),
            ["delete", "j"],
            "`batchgrad cancel j`, or let it go on to its end with `batchgrad resume j`",
        ),
        (
            (409, "job_not_finished", "Job j is running: only a finished job can be deleted."),
            ["delete", "j"],
            "`batchgrad cancel j`, or see it through with `batchgrad wait j`",
        ),
        (
            (409, "dataset_in_use", "Job j trains on dataset 'd' and has not ended: wait."),
            ["datasets", "delete", "d"],
            "Job j trains on dataset 'd' and has not ended: wait for it with `batchgrad wait j`",
        ),
        (
            (404, "dataset_not_found", "There is no dataset 'd'; PUT /v1/datasets/{name}."),
            ["datasets", "delete", "d"],
            "`batchgrad datasets push d FILE.npz`",
        ),
    ],
)
def test_remedies_are_commands(
    kit: Any, run: Any, problem: tuple[int, str, str], arguments: list[str], said: str
) -> None:
    done = run(kit.Script(kit.problem(*problem)), *arguments)
    assert said in done.stderr
    assert "/v1" not in done.stderr


def test_a_cancelled_job_can_be_cancelled_again(kit: Any, run: Any) -> None:
    script = kit.Script(kit.problem(409, "job_cancelled", "Job job_1 is cancelled: it has ended."))
    done = run(script, "cancel", "job_1")
    assert (done.exit_code, done.stdout) == (0, "cancelled\n")
    assert "nothing has changed" in done.stderr
    ended = kit.problem(409, "job_succeeded", "Job job_1 is succeeded and cannot be cancelled: no.")
    assert run(kit.Script(ended), "cancel", "job_1").exit_code == 1


def test_alone_it_says_what_there_is() -> None:
    done = CliRunner().invoke(app, [])
    assert done.exit_code == 0
    assert "batchgrad demo" in done.stdout
    assert CliRunner().invoke(app, ["--version"]).stdout == f"batchgrad {__version__}\n"


def test_help_tells_every_key_layer_and_loss_with_its_default() -> None:
    told = CliRunner().invoke(app, ["submit", "--help"]).stdout
    words = set(told.replace("*", " ").replace(":", " ").split())
    assert words.issuperset(JobSpec.model_fields)
    for layer in get_args(AnyLayer):
        assert words.issuperset(set(layer.model_fields) - {"kind"}), layer
        assert get_args(layer.model_fields["kind"].annotation)[0] in words
    assert words.issuperset(get_args(Loss))
    assert "without a hidden ½" in told
    assert "momentum: number ≥ 0, < 1 [0.0]" in told
    asked = CliRunner().invoke(app, ["gradients", "--help"]).stdout
    for key in GradientsRequest.model_fields:
        assert f"\n  {key}" in asked
    assert "inputs: [[0], [1]]" in asked


def test_the_example_in_help_is_a_request(tmp_path: Path) -> None:
    path = tmp_path / "request.yaml"
    path.write_text(textwrap.dedent(REQUEST_EXAMPLE))
    assert load_gradients(path).loss == "linear_error"
