"""The route /guide: the built guide, without a token and with a policy of its own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from batchgrad_service.web.guide import POLICY_FILE
from tests.service.conftest import Bench

POLICY = "default-src 'self'; script-src 'self' 'sha256-x'"


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A guide of two pages."""
    site = tmp_path / "site"
    (site / "how-to").mkdir(parents=True)
    (site / "index.html").write_text("the guide")
    (site / "how-to/predict.html").write_text("how to predict")
    (site / POLICY_FILE).write_text(POLICY)
    return site


def test_the_guide_is_served_without_a_token_and_with_its_policy(
    make_bench: Callable[..., Bench], built: Path, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("0123456789abcdef-token")
    http = make_bench(guide=built, token_file=tmp_path / "token").http
    assert http.get("/v1/jobs").status_code == 401
    first = http.get("/guide")
    assert (first.status_code, first.text, first.url.path) == (200, "the guide", "/guide/")
    redirect = http.get("/guide", follow_redirects=False)
    assert redirect.headers["location"] == "guide/"  # relative: it stays below a proxy's prefix
    other = http.get("/guide/how-to/predict.html")
    assert other.text == "how to predict"
    assert other.headers["content-security-policy"] == POLICY
    again = http.get("/guide/", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304
    assert again.headers["content-security-policy"] == POLICY


@pytest.mark.parametrize(
    "path", ["none.html", "how-to", "how-to/", "..%2ftoken", "%2e%2e/token", "%00"]
)
def test_only_files_of_the_guide_are_served(
    make_bench: Callable[..., Bench], built: Path, tmp_path: Path, path: str
) -> None:
    (tmp_path / "token").write_text("0123456789abcdef-token")
    answer = make_bench(guide=built).http.get(f"/guide/{path}")
    assert answer.status_code == 404
    assert "Not found" in answer.text


def test_a_service_without_the_guide_says_how_to_build_it(bench: Bench) -> None:
    answer = bench.http.get("/guide/")
    assert answer.status_code == 404
    assert "make docs" in answer.text
    assert 'href="../guide/"' in answer.text
    assert 'href="guide/"' in bench.http.get("/docs").text
