"""A private service ends with its owner, in any case, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

import batchgrad
from batchgrad import Client
from batchgrad.errors import FileFailed, InvalidArgument, Unavailable
from batchgrad.user_machine.private_service import private_service

FAKE = (sys.executable, str(Path(__file__).with_name("fake_serve.py")))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The parent of data directories; a test must leave it empty."""
    yield tmp_path
    assert list(tmp_path.iterdir()) == []


def answers(url: str) -> bool:
    with Client(url) as client:
        return client.ready()


def test_it_serves_and_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHGRAD_DATABASE_URL", "sqlite:///the-users-own")
    with private_service((*FAKE, "good"), folder=folder) as client:
        assert answers(client.url)
        (directory,) = folder.iterdir()
        environment = json.loads((directory / "environment.json").read_text())
    assert not answers(client.url)
    assert "BATCHGRAD_DATABASE_URL" not in environment


def test_it_runs_the_users_own_code_from_the_working_folder(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    working = tmp_path_factory.mktemp("working")
    monkeypatch.chdir(working)

    def flags() -> list[str]:
        with private_service((*FAKE, "good"), folder=folder):
            (directory,) = folder.iterdir()
            found: list[str] = json.loads((directory / "flags.json").read_text())
            return found

    assert flags()[-5:] == [
        *("--torch-modules", "*", "--allow-uploaded-code", "--torch-path", str(working))
    ]
    working.rmdir()
    assert "--torch-path" not in flags()


def test_wrong_arguments_of_local_are_refused(folder: Path) -> None:
    with pytest.raises(InvalidArgument, match="folder is a int; expected a path"):
        batchgrad.local(folder=cast("Any", 5))
    with pytest.raises(InvalidArgument, match="start_timeout is a str"):
        batchgrad.local(start_timeout=cast("Any", "soon"))
    with pytest.raises(FileFailed, match="No such file"), batchgrad.local(folder=folder / "none"):
        pytest.fail("it never started")


def test_the_log_of_a_service_that_dies_at_the_start_is_quoted(folder: Path) -> None:
    service = private_service((*FAKE, "dies"), folder=folder)
    with pytest.raises(Unavailable, match=r"status 1.*\n.*the port is taken"), service:
        pytest.fail("it never started")


def test_a_service_that_is_not_ready_in_time_is_stopped(folder: Path) -> None:
    service = private_service((*FAKE, "mute"), folder=folder, start_timeout=0.2, stop_timeout=0.1)
    with pytest.raises(Unavailable, match="did not become ready"), service:
        pytest.fail("it never started")


def test_a_killed_service_is_reported(folder: Path) -> None:
    with (
        pytest.raises(Unavailable, match="ended, with status -9"),
        private_service((*FAKE, "frail"), folder=folder) as client,
    ):
        client.job("job_1")


def test_a_service_that_does_not_stop_is_killed(folder: Path) -> None:
    with private_service((*FAKE, "unstoppable"), folder=folder, stop_timeout=0.2) as client:
        assert answers(client.url)
    assert not answers(client.url)


def test_a_killed_owner_leaves_nothing(folder: Path) -> None:
    code = (
        "import pathlib, time\n"
        "from batchgrad.user_machine.private_service import private_service\n"
        f"folder = pathlib.Path({str(folder)!r})\n"
        f"with private_service({(*FAKE, 'good')!r}, folder=folder) as client:\n"
        "    print(client.url, flush=True)\n"
        "    time.sleep(600)\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    with owner.stdout:
        assert owner.stdout.readline().startswith(b"http://")
    assert list(folder.iterdir())
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    deadline = time.monotonic() + 20
    while list(folder.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.02)
