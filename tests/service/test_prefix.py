"""The pages behind a proxy that strips a prefix: every link stays below the prefix."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from starlette.testclient import TestClient

from batchgrad_service.web.guide import POLICY_FILE
from tests.service.building import body, push
from tests.service.conftest import Bench

PREFIX = "/batchgrad"
TOKEN = "0123456789abcdef-token"  # noqa: S105 - opens nothing but this test
STATIC = Path(__file__).parents[2] / "service/batchgrad_service/web/static"


def behind_proxy(app: Any) -> TestClient:
    """A client of `app` through a proxy that strips the prefix and answers 404 for other paths."""

    async def proxy(scope: Any, receive: Any, send: Any) -> None:
        if not scope["path"].startswith(f"{PREFIX}/"):
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b"the proxy's own"})
            return
        path = scope["path"].removeprefix(PREFIX)
        await app({**scope, "path": path, "raw_path": path.encode()}, receive, send)

    return TestClient(proxy, base_url="http://127.0.0.1")


@pytest.fixture
def guarded(make_bench: Callable[..., Bench], tmp_path: Path) -> Bench:
    (tmp_path / "mine").write_text(TOKEN)
    guide = tmp_path / "guide"
    guide.mkdir()
    (guide / POLICY_FILE).write_text("default-src 'self'")
    (guide / "how-to").mkdir()
    for name in ("index", "privacy", "how-to/label-audit"):
        (guide / f"{name}.html").write_text("<h1>A page</h1>")
    return make_bench(token_file=tmp_path / "mine", guide=guide)


def test_every_link_of_every_page_stays_below_the_prefix(guarded: Bench) -> None:
    guarded.http.headers["Authorization"] = f"Bearer {TOKEN}"
    push(guarded.http)
    job = guarded.http.post("/v1/jobs", json=body()).json()["id"]
    http = behind_proxy(guarded.app)
    answer = http.get(f"{PREFIX}/jobs/{job}/", headers={"Accept": "text/html"})
    assert (answer.status_code, urlsplit(str(answer.url)).path) == (200, f"{PREFIX}/login")
    there = re.search(r'name="next" value="([^"]*)"', answer.text)
    assert there
    shown = http.post(f"{PREFIX}/login", data={"token": TOKEN, "next": there.group(1)})
    assert (shown.status_code, urlsplit(str(shown.url)).path) == (200, f"{PREFIX}/jobs/{job}")
    [cookie] = http.cookies.jar
    assert cookie.path == PREFIX

    waiting, seen = [f"{PREFIX}/"], set[str]()
    while waiting:
        url = waiting.pop()
        seen.add(url)
        answer = http.get(url)
        expected = (
            409 if url.partition("?")[0].endswith("/parameters") else 200
        )  # has no checkpoint
        assert answer.status_code == expected, url
        if answer.headers["content-type"].startswith("text/html"):
            for link in re.findall(r'(?:href|src|action)="([^"#]+)', answer.text):
                target = urljoin(url, link)
                assert target.startswith(f"{PREFIX}/"), (url, link)
                if target not in seen and not target.endswith("/logout"):
                    waiting.append(target)
    assert {
        f"{PREFIX}/{name}" for name in ("submit", "try", "docs", "guide/", f"jobs/{job}")
    } < seen
    assert len(seen) > 15

    sent = http.post(f"{PREFIX}/submit", data={"spec": "", "action": "check", "key": "k"})
    assert sent.status_code == 422
    left = http.post(f"{PREFIX}/logout")
    assert urlsplit(str(left.url)).path == f"{PREFIX}/login"
    assert http.get(f"{PREFIX}/v1/jobs").status_code == 401


def test_no_script_contains_an_absolute_path() -> None:
    scripts = list(STATIC.rglob("*.js"))
    assert len(scripts) > 8
    for script in scripts:
        absolute = re.findall(
            r"""["'`]/(?:v1|static|jobs|submit|try|docs|guide|login)\b.*""", script.read_text()
        )
        assert not absolute, script.name


def test_an_extra_slash_is_redirected(bench: Bench) -> None:
    answer = bench.http.get("/submit/?x=1", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, "../submit?x=1")
    assert bench.http.get("/v1/datasets/").status_code == 200
    for path in ("/nothing/", "/submit//"):
        assert bench.http.get(path).status_code == 404, path
