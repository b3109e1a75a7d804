"""The command line against a scripted service: outputs, messages and exit codes."""

import json
import re
import textwrap
from pathlib import Path
from typing import Any, get_args

import httpx2
import pytest
import yaml
from typer.testing import CliRunner

from batchgrad import __version__
from batchgrad.cli.app import app
from batchgrad.contract import FIGURES, GradientsRequest, JobSpec, Loss
from batchgrad.contract.model import AnyLayer
from batchgrad.display.reference import REQUEST_EXAMPLE
from batchgrad.parsing.spec_files import load_gradients


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
        "learning rate": "0.1",
        "runs on": "2 Ray workers, 1 thread each",
        "examples/s": "12,345",
    }.items():
        assert f"{name:<24}  {value}\n" in shown
    further = kit.answer(200, kit.job(parameters_digest="sha256:ab", parameters_step=5))
    assert "  sha256:ab at step 5\n" in run(kit.Script(further), "get", "job_1").stdout
    inline = kit.answer(200, kit.job(executor="inline", workers=0))
    assert "  inline, 1 thread\n" in run(kit.Script(inline), "get", "job_1").stdout
    page = {"data": [kit.job(name="n" * 90), kit.job(id="job_2")], "next": None}
    listed = run(kit.Script(kit.answer(200, page)), "list", "--limit", "1")
    assert "n" * 90 in listed.stdout  # nothing is cut off where no terminal is
    assert "job_2" not in listed.stdout
    as_yaml = run(kit.Script(kit.answer(200, page)), "list", "-o", "yaml", "--status", "running")
    assert [job["id"] for job in yaml.safe_load(as_yaml.stdout)] == ["job_1", "job_2"]


def test_steps_are_lines_with_every_figure_and_gap(kit: Any, run: Any) -> None:
    weightless = {**kit.STEP, "step": 19, "loss": None, "shortcuts": {}}
    page = kit.answer(200, {"data": [kit.STEP, weightless], "next": None})
    script = kit.Script(page)
    heading, first, second = run(script, "steps", "job_1", "--max-points", "2").stdout.splitlines()
    assert script.seen[0].url.params["max_points"] == "2"
    labels = [figure.label for figure in FIGURES.values()]
    assert re.split("  +", heading.strip()) == ["step", "epoch", *labels, "gap of averaged_error"]
    assert first.split()[:5] == ["18", "2", "0.2", "0.1", "1.5"]
    assert first.split()[-1] == "0.5"
    assert (second.split()[2], second.split()[-1]) == ("–", "–")
    assert len(first) == len(second) == len(heading)
    rows = run(kit.Script(page), "steps", "job_1", "-o", "json").stdout.splitlines()
    assert [json.loads(row)["step"] for row in rows] == [18, 19]
    explained = run(kit.Script(page), "steps", "--help").stdout
    assert all(label in explained for label in labels)
    nothing = run(kit.Script(kit.answer(200, {"data": [], "next": None})), "steps", "job_1")
    assert nothing.stdout == ""


@pytest.mark.parametrize("which", [None, "last"])
def test_a_download_says_whether_it_is_of_the_best(
    kit: Any, run: Any, tmp_path: Path, which: str | None
) -> None:
    answers = kit.answer(200, kit.job(best=kit.BEST)), httpx2.Response(200, content=b"bytes")
    script = kit.Script(*answers)
    chosen = [] if which is None else ["--which", which]
    done = run(script, "download", "job_1", "--to", str(tmp_path / "theta.npz"), *chosen)
    assert script.seen[1].url.params.get("which") == which
    text = "These are the best parameters, after step 7 (epoch 1), by validation loss: 0.125;"
    assert (text in done.stderr) == (which is None)


def test_get_shows_which_parameters_are_kept(kit: Any, run: Any) -> None:
    shown = run(kit.Script(kit.answer(200, kit.job(best=kit.BEST))), "get", "job_1").stdout
    assert "\nkept   " in shown
    assert "after step 7 (epoch 1), by validation loss: 0.125" in " ".join(shown.split())
    without = run(kit.Script(kit.answer(200, kit.job())), "get", "job_1").stdout
    assert "\nkept" not in without


def test_empty_lists_name_the_next_command(kit: Any, run: Any) -> None:
    nothing = kit.answer(200, {"data": [], "next": None})
    assert "batchgrad submit" in run(kit.Script(nothing), "list").stderr
    assert "batchgrad datasets push" in run(kit.Script(nothing), "datasets", "list").stderr
    assert run(kit.Script(nothing), "list", "-o", "json").stdout == "[]\n"


def test_actions_print_the_new_status(kit: Any, run: Any, tmp_path: Path) -> None:
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
    assert (done.stdout, done.stderr) == (f"{target}\n", "Written as npz.\n")
    assert script.seen[1].url.params["format"] == "npz"
    script = kit.Script(kit.answer(200, kit.job()), httpx2.Response(200, content=b"bytes"))
    nowhere = run(script, "download", "job_1", "--to", str(tmp_path / "none" / "theta.npz"))
    older = {"Warning": '199 batchgrad "These are the parameters of step 4."'}
    passed_over = httpx2.Response(200, content=b"bytes", headers=older)
    script = kit.Script(kit.answer(200, kit.job()), passed_over)
    warned = run(script, "download", "job_1", "--to", str(tmp_path / "older.npz"))
    assert warned.stderr == "batchgrad: These are the parameters of step 4.\nWritten as npz.\n"
    assert nowhere.exit_code == 1
    assert "does not exist" in nowhere.stderr


@pytest.mark.parametrize(
    ("file", "flags", "message"),
    [
        ("theta.safetensors", [], "safe_open(FILE, 'numpy').metadata()['batchgrad']"),
        ("theta.npz", [], "standardize.mean and standardize.deviation"),
        ("theta.npz", ["--fold"], "give the network raw inputs"),
    ],
)
def test_a_download_says_how_inputs_were_standardized(
    kit: Any, run: Any, tmp_path: Path, file: str, flags: list[str], message: str
) -> None:
    trained = kit.answer(200, kit.job(spec={**kit.SPEC, "standardize": True}))
    script = kit.Script(trained, httpx2.Response(200, content=b"bytes"))
    done = run(script, "download", "job_1", "--to", str(tmp_path / file), *flags)
    assert message in done.stderr
    assert script.seen[1].url.params.get("fold") == ("true" if flags else None)


def test_a_dataset_gets_and_loses_a_privacy_budget(kit: Any, run: Any) -> None:
    privacy = {"jobs": 2, "epsilon": 3.0, "delta": 1e-5, "budget": 8.0}
    script = kit.Script(kit.answer(200, kit.DATASET | {"privacy": privacy}))
    shown = run(script, "datasets", "budget", "digits", "--epsilon", "8")
    assert "ε 3 of 8 at δ 1e-05, in 2 jobs" in shown.stdout
    [asked] = script.seen
    assert (asked.method, asked.url.path) == ("PUT", "/v1/datasets/digits/privacy-budget")
    assert json.loads(asked.content) == {"epsilon": 8.0}
    script = kit.Script(kit.answer(204), kit.answer(200, kit.DATASET))
    assert run(script, "datasets", "budget", "digits", "--none").exit_code == 0
    assert [each.method for each in script.seen] == ["DELETE", "GET"]
    for wrong in ([], ["--epsilon", "8", "--none"], ["--epsilon", "0"], ["--epsilon", "inf"]):
        assert run(kit.Script(), "datasets", "budget", "digits", *wrong).exit_code == 2


def test_datasets_are_pushed_listed_deleted(kit: Any, run: Any, tmp_path: Path) -> None:
    file = tmp_path / "digits.npz"
    file.write_bytes(b"npz")
    pushed = run(kit.Script(kit.answer(201, kit.DATASET)), "datasets", "push", "digits", str(file))
    assert "10 classes" in pushed.stdout
    page = kit.answer(200, {"data": [kit.DATASET], "next": None})
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
    assert "per_example" not in shown.stdout
    answered["per_example"] = [{"0.weight": [[1.0]]}]
    per_example = run(
        kit.Script(kit.answer(200, answered)), "gradients", "-", input=json.dumps(request)
    )
    assert "each example: --output json, under per_example" in per_example.stdout


def test_version_prints_client_and_service(kit: Any, run: Any) -> None:
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
    assert alone.exit_code == 1
    assert alone.stdout.startswith("client")
    assert "No answer" in alone.stderr


@pytest.mark.parametrize(
    ("problem", "arguments", "message"),
    [
        (
            (404, "job_not_found", "There is no job 'j'; GET /v1/jobs lists all jobs."),
            ["get", "j"],
            "There is no job 'j': `batchgrad list` shows all jobs.",
        ),
        (
            (409, "job_not_finished", "Job j is paused: only a finished job can be deleted."),
            ["delete", "j"],
            "`batchgrad cancel j`, or resume it with `batchgrad resume j`",
        ),
        (
            (409, "job_not_finished", "Job j is running: only a finished job can be deleted."),
            ["delete", "j"],
            "`batchgrad cancel j`, or wait for its end with `batchgrad wait j`",
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
    kit: Any, run: Any, problem: tuple[int, str, str], arguments: list[str], message: str
) -> None:
    done = run(kit.Script(kit.problem(*problem)), *arguments)
    assert message in done.stderr
    assert "/v1" not in done.stderr


def test_a_job_that_has_ended_is_resumed_with_a_length(kit: Any, run: Any) -> None:
    warned = kit.answer(202, kit.job(status="queued", warnings=["The rate jumps."]))
    script = kit.Script(httpx2.ConnectError("lost"), warned)
    done = run(script, "resume", "job_1", "--epochs", "20")
    assert (done.exit_code, done.stdout) == (0, "queued\n")
    assert "warning: The rate jumps." in done.stderr
    assert json.loads(script.seen[0].content) == {"more_epochs": 20}
    keys = [request.headers["Idempotency-Key"] for request in script.seen]
    assert keys[0] == keys[1]  # sent again, it lengthens once
    run(script, "resume", "job_1", "--steps", "3")
    assert json.loads(script.seen[-1].content) == {"more_steps": 3}
    assert script.seen[-1].headers["Idempotency-Key"] != keys[0]
    assert run(script, "resume", "job_1", "--steps", "3", "--epochs", "1").exit_code == 2
    assert run(script, "resume", "job_1", "--epochs", "0").exit_code == 2


def test_a_cancelled_job_can_be_cancelled_again(kit: Any, run: Any) -> None:
    script = kit.Script(kit.problem(409, "job_cancelled", "Job job_1 is cancelled: it has ended."))
    script.answers.append(kit.answer(200, kit.job(status="cancelled")))
    done = run(script, "cancel", "job_1")
    assert (done.exit_code, done.stdout) == (0, "cancelled\n")
    assert "nothing has changed" in done.stderr
    ended = kit.problem(409, "job_succeeded", "Job job_1 is succeeded and cannot be cancelled: no.")
    assert run(kit.Script(ended), "cancel", "job_1").exit_code == 1


def test_without_a_command_it_prints_help() -> None:
    done = CliRunner().invoke(app, [])
    assert done.exit_code == 0
    assert "batchgrad demo" in done.stdout
    assert CliRunner().invoke(app, ["--version"]).stdout == f"batchgrad {__version__}\n"


def test_help_lists_every_key_layer_and_loss_with_its_default() -> None:
    text = CliRunner().invoke(app, ["submit", "--help"]).stdout
    words = set(text.replace("*", " ").replace(":", " ").split())
    assert words.issuperset(JobSpec.model_fields)
    for layer in get_args(AnyLayer):
        assert words.issuperset(set(layer.model_fields) - {"kind"}), layer
        assert get_args(layer.model_fields["kind"].annotation)[0] in words
    assert words.issuperset(get_args(Loss))
    assert "without a hidden ½" in text
    assert "momentum: number ≥ 0, < 1 [0.0]" in text
    help_text = CliRunner().invoke(app, ["gradients", "--help"]).stdout
    for key in GradientsRequest.model_fields:
        assert f"\n  {key}" in help_text
    assert "inputs: [[0], [1]]" in help_text


def test_the_example_in_help_is_a_request(tmp_path: Path) -> None:
    path = tmp_path / "request.yaml"
    path.write_text(textwrap.dedent(REQUEST_EXAMPLE))
    assert load_gradients(path).loss == "linear_error"
