"""Relative links of the Markdown files outside the guide lead to files and headings that exist.

Sphinx checks the guide's own.
"""

import re
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT

FILES = [
    *ROOT.glob("*.md"),
    *(ROOT / name for name in ("benchmarks/README.md", "tests/README.md", "dev/NOTES.md")),
    *ROOT.glob("examples/**/*.md"),
]


def anchors(page: Path) -> set[str]:
    """What links can name after #: each heading in lower case, with hyphens for spaces."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one).strip().lower().replace(" ", "-") for one in headings}


@pytest.mark.parametrize("page", FILES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"\w+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_there_are_links_to_check() -> None:
    assert len(FILES) > 7
    assert "the-data-directory" in anchors(ROOT / "docs/reference/settings.md")


def test_the_readme_stays_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 80
