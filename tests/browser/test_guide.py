"""The guide under its Content-Security-Policy: layout, search, themes; nothing from other hosts."""

import pytest
from playwright.sync_api import expect

from batchgrad_service.web.guide import SITE
from tests.browser.conftest import OpenPage, Running, Shot

PAGES = sorted(
    str(page.relative_to(SITE)) for page in SITE.rglob("*.html") if page.stem != "search"
)


@pytest.mark.parametrize("width", [1280, 400])
def test_every_page_is_shown_and_fits_the_window(
    open_page: OpenPage, running: Running, width: int
) -> None:
    page = open_page(running.client.url, width=width)
    assert len(PAGES) > 15
    for path in PAGES:
        page.goto(f"/guide/{path}")
        expect(page.locator("h1").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def test_search_finds_a_word_and_links_to_its_page(open_page: OpenPage, running: Running) -> None:
    page = open_page(running.client.url)
    page.goto("/guide/")
    page.get_by_role("textbox", name="Search").fill("momentum")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="A job's spec").last.click()
    expect(page.get_by_role("heading", name="A job's spec")).to_be_visible()


def test_the_theme_is_chosen_by_its_button(
    open_page: OpenPage, running: Running, shot: Shot
) -> None:
    page = open_page(running.client.url)
    page.goto("/guide/reference/spec.html")
    before = page.evaluate("document.body.dataset.theme")
    page.locator(".theme-toggle:visible").first.click()
    assert page.evaluate("document.body.dataset.theme") != before
    shot(page, "guide")


def test_the_pages_link_to_the_guide_and_a_stranger_may_read_it(
    open_page: OpenPage, running: Running
) -> None:
    page = open_page(running.client.url)  # has not logged in
    page.goto("/login")
    page.get_by_role("link", name="Guide").click()
    expect(page.get_by_role("heading", name="batchgrad").first).to_be_visible()
