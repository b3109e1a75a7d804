"""`batchgrad serve` and `gc`: wrong or missing settings are reported, and nothing starts."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from batchgrad import Client
from batchgrad.cli.app import app
from batchgrad.errors import InvalidArgument
from batchgrad_service.data_directory.storage import open_storage
from batchgrad_service.settings import Settings


def test_a_reachable_host_without_a_token_is_a_usage_error(tmp_path: Path) -> None:
    arguments = ["serve", "--no-token", "--host", "0.0.0.0"]  # noqa: S104
    done = CliRunner().invoke(app, [*arguments, "--data-dir", str(tmp_path / "data")])
    assert done.exit_code == 2
    assert "--no-token" in done.stderr
    assert "Value error" not in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_wrong_setting_is_named_as_flag_or_variable(tmp_path: Path) -> None:
    arguments = ["serve", "--data-dir", str(tmp_path / "data")]
    environment = {"BATCHGRAD_ENGINE_STOP_TIMEOUT_SECONDS": "0", "BATCHGRAD_PORT": "many"}
    done = CliRunner(env=environment).invoke(app, arguments)
    assert done.exit_code == 2
    message = " ".join(done.stderr.split())
    assert " BATCHGRAD_ENGINE_STOP_TIMEOUT_SECONDS: got '0'; expected more than 0." in message
    assert "--port (BATCHGRAD_PORT): got 'many'; expected an integer." in message
    assert not (tmp_path / "data").exists()


def test_an_invalid_ray_address_is_named(tmp_path: Path) -> None:
    arguments = ["serve", "--data-dir", str(tmp_path / "data")]
    done = CliRunner(env={"RAY_ADDRESS": "ray://head:10001"}).invoke(app, arguments)
    assert done.exit_code == 2
    message = " ".join(done.stderr.split())
    assert (
        "--ray-address (BATCHGRAD_RAY_ADDRESS or RAY_ADDRESS): 'ray://head:10001' is no" in message
    )
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("BATCHGRAD_TOKN", "did you mean BATCHGRAD_TOKEN?"),
        ("BATCHGRAD_MAX_JOBS", "did you mean BATCHGRAD_MAX_RUNNING_JOBS?"),
        ("BATCHGRAD_DATADIR", "did you mean BATCHGRAD_DATA_DIR?"),
        ("BATCHGRAD_GRACE_SECONDS", "did you mean BATCHGRAD_ENGINE_STOP_TIMEOUT_SECONDS?"),
        (
            "BATCHGRAD_WORKER_SILENCE_SECONDS",
            "did you mean BATCHGRAD_WORKER_HEARTBEAT_TIMEOUT_SECONDS?",
        ),
        ("BATCHGRAD_", "unset it"),
        ("BATCHGRAD_XYZZY", "unset it; docs/reference/settings.md lists all variables."),
    ],
)
def test_an_unknown_variable_is_refused(
    kit: Any, run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, remedy: str
) -> None:
    script = kit.Script(kit.answer(200, kit.job()))
    monkeypatch.setenv(name, "1")
    for command in (["serve", "--data-dir", str(tmp_path / "data")], ["get", "job_1"], ["demo"]):
        done = run(script, *command)
        assert (done.exit_code, done.stdout) == (2, "")
        assert f"Unknown variable {name}: {remedy}" in done.stderr
    with pytest.raises(InvalidArgument, match="Unknown variable"):
        Client()
    Client("http://elsewhere", "token-that-was-given")
    assert not script.seen
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "name",
    [
        "BATCHGRAD_URL",
        "BATCHGRAD_HEAD",
        "BATCHGRAD_SERVICE_HOST",
        "BATCHGRAD_SERVICE_PORT_HTTP",
        "BATCHGRAD_HEAD_SVC_PORT",
        "BATCHGRAD_HEAD_SVC_PORT_6379_TCP_ADDR",
    ],
)
def test_variables_of_deploy_and_kubernetes_are_accepted(
    kit: Any, run: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "http://known")
    assert run(kit.Script(kit.answer(200, kit.job())), "get", "job_1").exit_code == 0


def test_a_token_file_without_a_token_is_a_usage_error(tmp_path: Path) -> None:
    token = tmp_path / "token"
    arguments = ["serve", "--token-file", str(token), "--data-dir", str(tmp_path / "data")]
    missing = CliRunner().invoke(app, arguments)
    token.write_text("short")
    short = CliRunner().invoke(app, arguments)
    assert (missing.exit_code, short.exit_code) == (2, 2)
    assert "cannot be read" in missing.stderr
    assert "16 or more ASCII characters" in " ".join(short.stderr.replace("│", " ").split())


def test_a_missing_extra_is_named() -> None:
    code = (
        "import sys\n"
        "sys.modules['pydantic_settings'] = None\n"  # as good as not installed
        "sys.argv = ['batchgrad', 'serve']\n"
        "from batchgrad.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, text=True)
    assert done.returncode == 1
    assert "pip install 'batchgrad[service]', or '.[service]' from a clone" in done.stderr
    assert "Traceback" not in done.stderr


def test_gc_lists_files_before_it_removes_them(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with open_storage(Settings(data_dir=data)):
        pass
    unknown = data / "jobs" / f"job_{'0' * 16}"
    for folder in (unknown, data / "datasets" / "imagenet"):
        folder.mkdir(parents=True)
    arguments = ["gc", "--data-dir", str(data)]
    shown = CliRunner().invoke(app, arguments)
    assert str(unknown) in shown.stdout
    assert "the database does not know the job" in shown.stdout
    assert "1 file that no service created: kept." in shown.stderr
    assert "Nothing was removed" in shown.stderr
    assert unknown.exists()
    done = CliRunner().invoke(app, [*arguments, "--delete", "--output", "json"])
    assert done.exit_code == 0
    assert [found["gone"] for found in json.loads(done.stdout)["data"]] == [False, True]
    assert not unknown.exists()
    assert (data / "datasets" / "imagenet").exists()
    with open_storage(Settings(data_dir=data)):
        assert "stop that service" in CliRunner().invoke(app, arguments).stderr
    missing = CliRunner().invoke(app, ["gc", "--data-dir", str(tmp_path / "none")])
    assert missing.exit_code == 1
    assert "There is no data directory" in missing.stderr
