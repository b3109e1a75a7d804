"""Host and Origin headers that name this service, and those that do not."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from batchgrad_service.http.hosts import AllowedHosts
from batchgrad_service.problems import UnknownHostError
from batchgrad_service.settings import Settings
from tests.service.building import problem
from tests.service.conftest import Bench

Make = Callable[..., Bench]


def refused(header: str, /, **settings: str) -> bool:
    try:
        AllowedHosts(Settings(**settings)).check(header)  # type: ignore[arg-type]
    except UnknownHostError:
        return True
    return False


HERE = ["127.0.0.1", "127.0.0.1:8711", "127.9.9.9:1", "localhost", "LOCALHOST:8080", "[::1]:8711"]
FOREIGN = [
    "",
    "evil.example",
    "a.b:1",
    "127.0.0.1@evil",
    "127.0.0.1.evil.example",
    "localhost.evil.example:8711",
    "evil.example:127",
    "10.0.0.1",
    "0.0.0.0:8711",
    "[::1]evil",
    "[::1",
    "127.0.0.1:x",
    "127.0.0.1 evil",
    "localhost/evil",
]


@pytest.mark.parametrize("host", HERE)
def test_loopback_hosts_are_allowed(host: str) -> None:
    for settings in ({}, {"allowed_hosts": "a.example"}, {"host": "0.0.0.0"}):  # noqa: S104
        assert not refused(host, **settings)


@pytest.mark.parametrize("host", FOREIGN)
def test_other_hosts_are_refused(host: str) -> None:
    assert refused(host)
    assert refused(host, allowed_hosts="a.example, *.b.example")
    assert not refused(host, allowed_hosts="*")


def test_allowed_hosts_are_allowed() -> None:
    allowed = "a.example, *.B.example,[fe80::1]"
    for host in ("a.example:80", "A.EXAMPLE.", "x.b.example", "x.y.b.example", "[fe80::1]:1"):
        assert not refused(host, allowed_hosts=allowed)
    for host in ("b.example", "xb.example", "x.a.example", "a.example.evil"):
        assert refused(host, allowed_hosts=allowed)
    assert not refused("head:1", advertised_url="http://head:8711")


def test_a_reachable_service_allows_every_host_unless_some_are_named() -> None:
    reachable = {"host": "10.0.0.1"}
    for host in ("batchgrad", "10.0.0.1:8711", "evil.example"):
        assert not refused(host, **reachable)
    named = {**reachable, "allowed_hosts": "a.example"}
    assert refused("evil.example", **named)
    for host in ("a.example", "10.0.0.1", "10.2.3.4:8711", "127.0.0.1"):  # probes use addresses
        assert not refused(host, **named)


@pytest.mark.parametrize("names", ["http://a.example", "a.example:80", "a b", "a.*", "a/b"])
def test_invalid_host_names_are_refused(names: str) -> None:
    with pytest.raises(ValidationError, match="is not a host"):
        Settings(allowed_hosts=f"b.example,{names}")


@pytest.mark.parametrize("path", ["/v1/jobs", "/", "/healthz", "/login", "/static/style.css"])
def test_the_refusal_of_a_host_names_the_remedy(bench: Bench, path: str) -> None:
    answer = bench.http.get(path, headers={"host": "evil.example:8711"})
    found = problem(answer, 421)
    assert found["code"] == "unknown_host"
    assert "--allowed-hosts" in found["detail"]
    assert bench.http.get(path, headers={"host": "localhost:1"}).status_code == 200


def test_behind_a_proxy_that_changes_host_the_origin_decides(make_bench: Make) -> None:
    http = make_bench(allowed_hosts="a.example").http
    for origin in ("https://a.example", "http://127.0.0.1:8803", "http://localhost:1"):
        headers = {"sec-fetch-site": "same-origin", "origin": origin}
        problem(http.post("/v1/jobs/none/cancel", headers=headers), 404)


def test_the_token_does_not_replace_the_host(make_bench: Make, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("0123456789abcdef-token")
    http = make_bench(token_file=tmp_path / "mine").http
    bearer = {"Authorization": "Bearer 0123456789abcdef-token"}
    assert http.get("/v1/jobs", headers=bearer).status_code == 200
    problem(http.get("/v1/jobs", headers={**bearer, "host": "evil.example"}), 421)
