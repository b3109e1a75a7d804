"""Accessibility of the pages: widths, contrast, themes, keyboard; and the login."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from batchgrad.user_machine.private_service import COMMAND, private_service
from tests.browser.conftest import OpenPage, Running
from tests.browser.contrast import low_contrast

PAGES = ("/", "/submit", "/try", "/jobs/{job}", "/jobs/{job}/examples", "/jobs/none")
TOKEN = "0123456789abcdef-token"  # noqa: S105 - opens nothing but this test


def settled(page: Page, path: str) -> None:
    """Open a page and wait until its plots are drawn."""
    page.goto(path)
    plots = page.locator(".plot")
    if plots.count():
        plots.first.scroll_into_view_if_needed()
        expect(page.locator(".plot[data-drawn]").first).to_be_visible()


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("width", [1280, 400])
def test_no_page_is_wider_than_the_window(
    open_page: OpenPage, running: Running, trained: str, path: str, width: int
) -> None:
    page = open_page(running.link, expected="status of 404", width=width)
    settled(page, path.format(job=trained))
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_has_enough_contrast(
    open_page: OpenPage, running: Running, trained: str, path: str, theme: str
) -> None:
    page = open_page(running.link, expected="status of 404")
    page.emulate_media(color_scheme=theme)
    settled(page, path.format(job=trained))
    assert page.locator("html").get_attribute("data-theme") == theme
    assert low_contrast(page) == []


def test_the_theme_is_switched_and_kept(page: Page, trained: str) -> None:
    settled(page, f"/jobs/{trained}")
    text = "getComputedStyle(document.querySelector('#loss text')).fill"
    before = page.evaluate(text)
    page.get_by_role("button", name="Dark").click()
    page.wait_for_function(f"before => {text} !== before", arg=before)
    page.goto("/")
    assert page.locator("html").get_attribute("data-theme") == "dark"
    page.get_by_role("button", name="Light").click()
    assert page.locator("html").get_attribute("data-theme") == "light"


def test_every_page_works_with_the_keyboard_only(page: Page) -> None:
    page.goto("/")
    page.keyboard.press("Tab")
    focused = page.locator(":focus")
    expect(focused).to_have_text("Skip to the content")
    expect(focused).to_be_in_viewport()
    for name in ("batchgrad", "Jobs", "Submit", "Try it"):
        page.keyboard.press("Tab")
        expect(focused).to_have_text(name)
        assert focused.evaluate("it => getComputedStyle(it).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.wait_for_url("**/try")
    summary = page.locator("#summary")
    expect(summary).to_contain_text("−5.6")
    label = "x1 of example 2"
    for _ in range(100):
        page.keyboard.press("Tab")
        if focused.get_attribute("aria-label") == label:
            break
    expect(focused).to_have_attribute("aria-label", label)
    page.keyboard.press("ArrowUp")
    expect(focused).to_have_value("-0.9")
    expect(summary).not_to_contain_text("−5.6")
    expect(focused).to_have_value("-0.9")  # the answer did not take the focus away


def test_the_token_is_asked_for_once(open_page: OpenPage, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    with private_service((*COMMAND, "--token-file", str(file)), folder=tmp_path) as client:
        page = open_page(client.url, expected="status of 401")
        page.goto("/try")
        page.get_by_label("Token").fill("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("not the token of this service")
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url("**/try")
        expect(page.locator("#summary")).to_contain_text("−5.6")
        assert page.evaluate("document.cookie") == ""
        page.get_by_role("button", name="Log out").click()
        page.goto("/")
        page.wait_for_url("**/login?next=*")
        page.close()  # before its service ends


def test_the_link_that_serve_prints_logs_in_and_is_cleared(
    open_page: OpenPage, running: Running
) -> None:
    page = open_page(running.link)
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
    page.go_back()
    assert "token" not in page.url
    page.goto("/")
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login")
    fragment = urlsplit(running.link).fragment
    page.evaluate(
        "fragment => { location.hash = fragment }", fragment
    )  # pasted into this very page
    page.wait_for_url(lambda url: urlsplit(url)[2:] == ("/", "", ""))
