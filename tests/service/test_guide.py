"""The routes /guide, the built guide under a policy of its own, and /why: both without a token."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from batchgrad_service.web.guide import POLICY_FILE
from batchgrad_service.web.why import article
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
    assert 'href="./guide/"' in bench.http.get("/docs").text


def test_the_explanation_is_served_with_its_figures_without_a_guide_and_a_token(
    make_bench: Callable[..., Bench], tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("0123456789abcdef-token")
    http = make_bench(guide=tmp_path / "none", token_file=tmp_path / "token").http
    answer = http.get("/why")
    assert answer.status_code == 200
    first = re.search("<article>.*?<p>(.*?)</p>", answer.text, re.DOTALL)
    assert first
    assert "the mean of products is not the product of means, and autograd" in first[1]
    figures = re.findall(r'<img src="(./static/[a-z]+\.\w+)" alt="[^"]{20,}"', answer.text)
    assert len(figures) == 4
    for address in figures:
        figure = http.get(address)
        assert figure.status_code == 200
        assert figure.headers["content-type"].startswith("image/")


def test_the_explanation_links_to_the_guide_and_to_its_own_sections() -> None:
    text, contents = article(
        "## So, why?\n[a](../how-to/x.md#y) [b](z.md) [c](https://e.org)", "../"
    )
    assert contents == [("so-why", "So, why?")]
    assert re.findall('(?:href|id)="(.*?)"', text) == [
        "so-why",
        "../guide/how-to/x.html#y",
        "../guide/explanation/z.html",
        "https://e.org",
    ]
