"""The service's process: start, stop, ports and data directories."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from batchgrad_service.data_directory.storage import open_storage
from batchgrad_service.datasets.published import PENDING
from batchgrad_service.http_server import listen
from batchgrad_service.settings import Settings
from batchgrad_service.store import Store
from tests.service.building import create

CODE = """
import sys
from batchgrad_service.server import run
from batchgrad_service.http_server import listen
from batchgrad_service.settings import Settings
settings = Settings(data_dir=sys.argv[1], port=int(sys.argv[2]), log_format="json")
sys.exit(run(settings, stop_when_stdin_closes=True, remove_data_dir=bool(sys.argv[3:])))
"""
PATIENCE_SECONDS = 30
DIGEST = "0" * 64


@contextmanager
def serving(
    data_dir: Path, port: int = 0, *more: str, **environment: str
) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, str(data_dir), str(port), *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={k: v for k, v in os.environ.items() if not k.startswith(("BATCHGRAD_", "RAY_"))}
        | environment,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def url_of(process: "subprocess.Popen[str]") -> str:
    return reached(process)[0]


def reached(process: "subprocess.Popen[str]") -> tuple[str, dict[str, str]]:
    """The URL of a service, and headers with its token."""
    assert process.stdout is not None
    announced = json.loads(process.stdout.readline())
    token = Path(announced["token_file"]).read_text().strip()
    return announced["url"], {"Authorization": f"Bearer {token}"}


def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    _, stderr = process.communicate(timeout=PATIENCE_SECONDS)
    return process.returncode, stderr


def test_a_start_removes_orphaned_datasets_from_the_blob_store(tmp_path: Path) -> None:
    marks, shared = tmp_path / "data/published", tmp_path / "shared"
    with open_storage(Settings(data_dir=tmp_path / "data")):
        pass
    for folder in (marks, shared / DIGEST):
        folder.mkdir(parents=True)
    (marks / DIGEST).write_text(PENDING)
    with serving(tmp_path / "data", BATCHGRAD_BLOB_STORE=f"file://{shared}") as process:
        url_of(process)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while list(marks.iterdir()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert list(shared.iterdir()) == []


@pytest.mark.parametrize("end", ["SIGTERM", "SIGINT", "stdin"])
def test_the_service_starts_and_stops_cleanly(tmp_path: Path, end: str) -> None:
    with serving(tmp_path / "data") as process:
        url, headers = reached(process)
        assert httpx2.get(f"{url}/healthz").json() == {"status": "ok"}
        assert httpx2.get(f"{url}/v1/jobs").status_code == 401
        with httpx2.stream("GET", f"{url}/v1/jobs/none/events", headers=headers) as answer:
            assert answer.status_code == 404
        assert (tmp_path / "data").stat().st_mode & 0o077 == 0
        if end == "stdin":
            assert process.stdin is not None
            process.stdin.close()
            process.stdin = None
        else:
            process.send_signal(signal.Signals[end])
        code, stderr = ended(process)
    assert code == 0
    token = headers["Authorization"].removeprefix("Bearer ")
    assert f"batchgrad is ready on {url}/login#token={token} (data in " in stderr
    assert stderr.count(token) == 1
    logged = [json.loads(line) for line in stderr.splitlines() if line.startswith("{")]
    [request] = [line for line in logged if line.get("job_id") == "none"]
    assert request["request_id"] == answer.headers["x-request-id"]
    assert request["route"] == "/v1/jobs/{job_id}/events"
    assert "Traceback" not in stderr
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(url)


def test_an_event_stream_does_not_delay_the_stop(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/batchgrad.sqlite3")
    store.migrate()
    job = create(store)
    store.transition(job.id, to="paused", allowed=["queued"])  # nothing will happen to it
    store.close()
    with serving(tmp_path) as process:
        url, headers = reached(process)
        with httpx2.stream("GET", f"{url}/v1/jobs/{job.id}/events", headers=headers) as answer:
            lines = answer.iter_lines()
            next(lines)
            process.send_signal(signal.SIGTERM)
            list(lines)  # ends without an error: the answer is complete
        code, stderr = ended(process)
    assert code == 0
    assert "timeout graceful shutdown exceeded" not in stderr


def test_a_used_port_gives_a_message(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with serving(tmp_path, port) as process:
            code, stderr = ended(process)
    assert code == 1
    assert stderr.startswith(f"batchgrad: cannot listen on 127.0.0.1 port {port}")


def test_two_services_cannot_share_a_data_directory(tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        url = url_of(first)
        for more in ([], ["remove"]):
            with serving(tmp_path, 0, *more) as second:
                code, stderr = ended(second)
            assert code == 1
            assert str(tmp_path) in stderr
            assert "Traceback" not in stderr
        assert httpx2.get(f"{url}/readyz").status_code in {200, 503}
        assert (tmp_path / "batchgrad.sqlite3").exists()


def test_accepted_connections_have_nodelay() -> None:
    with (
        listen("127.0.0.1", 0) as listening,
        socket.create_connection(listening.getsockname()),
        listening.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
