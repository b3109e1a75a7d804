"""The frame of all pages: header, shortcuts, search, paper; and the pages /why, /docs and 404."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from batchgrad.user_machine.demo import spec
from tests.browser.conftest import OpenPage, Running, Shot
from tests.browser.contrast import low_contrast

OWN = ("/why", "/docs", "/login", "/nothing")
SENTENCE = (
    "You averaged too early: the mean of products is not the product of means, and autograd "
    "never averages too early."
)
DRAWN = """() => [...document.querySelectorAll("article img")]
  .every((one) => one.complete && one.naturalWidth > 300)"""


@pytest.fixture
def any_page(open_page: OpenPage, running: Running) -> Callable[..., Page]:
    """Open a page with a login; one that is not found logs so."""
    return lambda **how: open_page(running.link, expected="status of 404", **how)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_explanation_has_its_sentence_and_figures_in_both_themes(
    open_page: OpenPage, running: Running, shot: Shot, theme: str
) -> None:
    page = open_page(running.client.url)  # a stranger may read it
    page.emulate_media(color_scheme=theme)
    page.goto("/why")
    expect(page.locator("article > p").first).to_contain_text(SENTENCE)
    assert page.locator("article img").count() == 4
    page.wait_for_function(DRAWN)
    assert page.locator("html").get_attribute("data-theme") == theme
    shot(page, f"why-{theme}")


def test_its_contents_lead_to_its_sections(page: Page) -> None:
    page.goto("/why")
    contents = page.get_by_role("navigation", name="On this page").get_by_role("link")
    for link in contents.all():
        section = page.locator(str(link.get_attribute("href")))
        expect(section).to_have_text(link.inner_text())
    contents.last.click()
    expect(page.get_by_role("heading", name="So what should I do?")).to_be_in_viewport()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("path", OWN)
def test_the_other_pages_have_contrast_too(
    any_page: Callable[..., Page], path: str, theme: str
) -> None:
    page = any_page()
    page.emulate_media(color_scheme=theme)
    page.goto(path)
    assert low_contrast(page) == []
    page.get_by_role("button", name="Keyboard shortcuts").click()
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    assert low_contrast(page) == []


def test_the_interface_is_described_in_the_chosen_theme_and_filtered(
    page: Page, shot: Shot
) -> None:
    page.emulate_media(color_scheme="dark")
    page.goto("/docs")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == "rgb(21, 22, 27)"
    entries = page.locator(".entry:visible")
    all_of_them = entries.count()
    page.keyboard.press("/")
    page.keyboard.type("privacy-budget remove")
    expect(entries).to_have_count(1)
    expect(entries).to_contain_text("DELETE /v1/datasets/{name}/privacy-budget")
    page.get_by_role("searchbox").fill("")
    expect(entries).to_have_count(all_of_them)
    shot(page, "docs-dark")


def test_letters_open_pages_and_switch_the_theme(page: Page) -> None:
    page.goto("/")
    for letter, path in {"s": "/submit", "t": "/try", "w": "/why", "a": "/docs", "j": "/"}.items():
        page.keyboard.press("g")
        page.keyboard.press(letter)
        page.wait_for_url(f"**{path}")
        expect(page.locator("#search")).to_be_visible()  # the keys work when it is
    page.keyboard.press("t")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_letters_typed_into_an_input_are_text(page: Page) -> None:
    page.goto("/submit")
    field = page.get_by_role("textbox").first
    field.fill("")
    field.press_sequentially("gt?/t")
    expect(field).to_have_value("gt?/t")
    assert page.url.endswith("/submit")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator("html")).to_have_attribute("data-theme", "light")


def test_letters_can_be_turned_off_and_on_again(page: Page) -> None:
    page.goto("/")
    page.keyboard.press("?")
    letters = page.get_by_role("checkbox", name="letters alone")
    letters.uncheck()
    page.keyboard.press("Escape")
    page.goto("/why")
    expect(page.locator("#search")).to_be_visible()
    page.keyboard.press("?")
    page.keyboard.press("t")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    page.get_by_role("button", name="Keyboard shortcuts").click()
    letters.check()
    page.keyboard.press("Escape")
    page.keyboard.press("t")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_the_search_finds_pages_and_jobs(page: Page, running: Running, shot: Shot) -> None:
    job = running.client.submit(spec(0, None, 1) | {"name": "needle-in-the-hay"})
    page.goto("/why")
    page.keyboard.press("Control+k")
    options = page.get_by_role("dialog", name="Search pages and jobs").get_by_role("option")
    expect(options.filter(has_text="Submit")).to_be_visible()
    shot(page, "search")
    page.keyboard.type("needle")
    expect(options).to_have_count(1)
    expect(options).to_contain_text("needle-in-the-hay")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/jobs/{job.id}")
    page.get_by_role("button", name="Search pages and jobs").click()
    expect(options.filter(has_text="needle-in-the-hay")).to_be_visible()
    page.keyboard.press("ArrowDown")
    chosen = page.locator("[aria-selected=true]")
    expect(chosen).to_contain_text("Submit")
    active = page.get_by_role("combobox", name="Page or job").get_attribute("aria-activedescendant")
    assert active == chosen.get_attribute("id")
    page.keyboard.press("Enter")
    page.wait_for_url("**/submit")


def test_the_search_opens_on_any_layout_and_leaves_other_keys(page: Page) -> None:
    page.goto("/why")
    press = "keys => document.dispatchEvent(new KeyboardEvent('keydown', keys))"
    page.evaluate(press, {"key": "K", "code": "KeyK", "ctrlKey": True, "shiftKey": True})
    page.evaluate(press, {"key": "t", "code": "KeyK", "ctrlKey": True})  # Dvorak
    page.evaluate("import('/static/palette.js')")
    dialog = page.get_by_role("dialog", name="Search pages and jobs")
    expect(dialog).to_be_hidden()
    page.evaluate(press, {"key": "л", "code": "KeyK", "ctrlKey": True})
    expect(dialog).to_be_visible()


@pytest.mark.parametrize("width", [400, 360])
def test_a_phone_has_one_row_of_header_and_a_menu(
    open_page: OpenPage, running: Running, trained: str, width: int
) -> None:
    page = open_page(running.link, width=width)
    job = f"/jobs/{trained}"
    for path in (job, f"{job}/examples", "/", "/submit", "/why", "/docs", "/try"):
        page.goto(path)
        header = page.locator("header.top").bounding_box()
        assert header
        assert header["height"] <= 60, path
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    nav = page.get_by_role("navigation", name="Pages")
    expect(nav).to_be_hidden()
    page.get_by_role("button", name="Menu").click()
    for name in ("Jobs", "Submit", "Try it", "Why", "API", "Guide"):
        expect(nav.get_by_role("link", name=name)).to_be_in_viewport(ratio=1)
    page.keyboard.press("Escape")
    expect(nav).to_be_hidden()
    page.get_by_role("button", name="Menu").click()
    nav.get_by_role("link", name="Why").click()
    page.wait_for_url("**/why")


@pytest.mark.parametrize("path", OWN)
def test_the_other_pages_fit_a_phone(any_page: Callable[..., Page], path: str) -> None:
    page = any_page(width=400)
    page.goto(path)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_paper_is_white_without_navigation_and_with_charts(page: Page, trained: str) -> None:
    page.emulate_media(color_scheme="dark")
    page.goto(f"/jobs/{trained}")
    expect(page.locator(".plot[data-drawn]").first).to_be_visible()
    page.emulate_media(media="print", color_scheme="dark")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    for hidden in ("header.top", "footer", ".actions"):
        assert page.locator(f"{hidden}:visible").count() == 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    charts = page.locator("figure.chart:visible .plot")
    assert charts.count() == 2
    for chart in charts.all():
        expect(chart.locator(".main-svg").first).to_be_visible()
    assert low_contrast(page) == []
    page.emulate_media(media="screen", color_scheme="dark")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_the_explanation_is_printed_with_its_figures(page: Page) -> None:
    page.goto("/why")
    page.emulate_media(media="print")
    page.wait_for_function(DRAWN)
    assert page.locator("article img:visible").count() == 4
    assert page.locator("nav:visible").count() == 0
