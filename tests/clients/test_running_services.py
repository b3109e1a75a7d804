"""A client finds its user's own service, and no other address gets the token."""

import fcntl
import socket
from pathlib import Path
from typing import Any

import httpx2
import pytest

from batchgrad import Client
from batchgrad.http import running_services

TOKEN = "0123456789abcdef-token"  # noqa: S105 - opens nothing but this test


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("BATCHGRAD_URL", "BATCHGRAD_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    return tmp_path


def entries(home: Path) -> list[Path]:
    return list((home / ".local/state/batchgrad/services").iterdir())


def sent_request(kit: Any, url: str | None = None, token: str | None = None) -> httpx2.Request:
    """The request that a client sends to the URL."""
    script = kit.Script(kit.answer(200, kit.job()))
    with Client(url, token, transport=httpx2.MockTransport(script)) as client:
        client.job("job_1")
    request: httpx2.Request = script.seen[0]
    return request


def test_only_the_token_of_a_running_service_is_found(kit: Any, home: Path) -> None:
    script = kit.Script(kit.answer(200, kit.job()))
    with Client(transport=httpx2.MockTransport(script)) as client:
        client.job("job_1")  # before the service is there
        with running_services.announced("127.0.0.1", 8711, home / "token", "myhost"):
            [entry] = entries(home)
            assert entry.stat().st_mode & 0o777 == 0o600
            assert TOKEN not in entry.read_text()
            client.job("job_1")
            assert sent_request(kit, "http://myhost:8711").url.host == "127.0.0.1"
            left = entry.read_bytes()
        client.job("job_1")
    assert [request.headers.get("Authorization") for request in script.seen] == [
        None,
        f"Bearer {TOKEN}",
        None,
    ]
    assert entries(home) == []
    entry.write_bytes(left)  # as if the service had been killed: another process may listen there
    assert "Authorization" not in sent_request(kit).headers
    with running_services.announced("127.0.0.1", 1, home / "token"):
        assert entry not in entries(home)


def test_localhost_means_the_address_of_the_service(kit: Any, home: Path) -> None:
    """Another user may listen on localhost's other address."""
    with running_services.announced("127.0.0.1", 8711, home / "token"):
        request = sent_request(kit, "http://localhost:8711")
    assert str(request.url) == "http://127.0.0.1:8711/v1/jobs/job_1"
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8712", "http://127.0.0.2:8711", "http://[::1]:8711", "https://x:8711"]
)
def test_other_addresses_get_no_token(kit: Any, home: Path, url: str) -> None:
    with running_services.announced("127.0.0.1", 8711, home / "token"):
        assert "Authorization" not in sent_request(kit, url).headers


def test_an_explicit_token_is_preferred(
    kit: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_services.announced("127.0.0.1", 8711, home / "token"):
        assert sent_request(kit, token="mine").headers["Authorization"] == "Bearer mine"  # noqa: S106
        monkeypatch.setenv("BATCHGRAD_TOKEN", "given")
        assert sent_request(kit).headers["Authorization"] == "Bearer given"


def test_invalid_entries_are_ignored(kit: Any, home: Path) -> None:
    with running_services.announced("127.0.0.1", 8711, home / "token"):
        [entry] = entries(home)
        odd = entry.with_name(f"{socket.gethostname()}-8711-odd.json")
        for content in (b"", b"[]", b"{}", b"\xff"):
            odd.write_bytes(content)
            with odd.open() as held:
                fcntl.flock(held, fcntl.LOCK_EX)
                assert "Authorization" in sent_request(kit).headers
        (home / "token").unlink()
        assert "Authorization" not in sent_request(kit).headers
