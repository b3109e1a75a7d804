"""Try it's plot and race: one screen, points that move, training by each."""

import re
from itertools import pairwise

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import SCREENSHOTS, OpenPage, Running, Shot
from tests.browser.contrast import low_contrast
from tests.browser.test_try_it import SENTENCES, sentence

HEIGHT = "document.documentElement.scrollHeight"
WIDTH = "document.documentElement.scrollWidth"
# Panels, and what they hold, end within the window.
OUTSIDE = """() =>
  [...document.querySelectorAll("main button, .panel, .panel .plot, .panel p, .term")]
  .filter((it) => it.getBoundingClientRect().bottom > innerHeight + 0.5)
  .map((it) => it.id || it.className)"""


def opened(page: Page, preset: str) -> None:
    page.goto(f"/try?start={preset.replace(' ', '-')}")
    expect(sentence(page)).to_have_text(SENTENCES[preset])


def raced(page: Page) -> str:
    page.get_by_role("button", name="Train 50 steps by each").click()
    expect(page.locator("#race-summary")).not_to_be_empty()
    return page.locator("#race-summary").inner_text()


@pytest.mark.parametrize("preset", SENTENCES)
def test_everything_is_on_one_screen(open_page: OpenPage, running: Running, preset: str) -> None:
    page = open_page(running.link, height=720)
    opened(page, preset)
    raced(page)
    assert (page.evaluate(HEIGHT), page.evaluate(WIDTH)) == (720, 1280)
    assert page.evaluate(OUTSIDE) == []
    normal = page.locator("#plot").bounding_box()
    page.get_by_role("button", name="Presenter size").click()
    expect(page.get_by_label("Examples and network")).to_be_hidden()
    page.wait_for_function(
        """(before) => document.getElementById("plot")
      .getBoundingClientRect().width > before""",
        arg=normal and normal["width"] * 1.2,
    )
    assert (page.evaluate(HEIGHT), page.evaluate(WIDTH)) == (720, 1280)
    assert page.evaluate(OUTSIDE) == []
    size = "getComputedStyle(document.querySelector('#summary strong')).fontSize"
    assert float(page.evaluate(size)[:-2]) > 22


@pytest.mark.parametrize("preset", SENTENCES)
def test_a_phone_has_one_column(open_page: OpenPage, running: Running, preset: str) -> None:
    page = open_page(running.link, width=400, height=800)
    opened(page, preset)
    assert page.evaluate(WIDTH) == 400
    boxes = [one.bounding_box() for one in page.locator(".panel").all()]
    assert len({box["x"] for box in boxes if box}) == 1


def test_the_mouse_moves_a_point_and_the_numbers_with_it(page: Page) -> None:
    opened(page, "a line fit")
    box = page.get_by_role("slider", name="Example 5").bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x, y + 30)
    page.mouse.up()
    target = page.get_by_label("target 1 of example 5")
    expect(target).not_to_have_value("3")
    assert float(target.input_value()) < 3
    assert page.get_by_label("x1 of example 5").input_value() == "2"
    expect(sentence(page)).not_to_have_text(SENTENCES["a line fit"])


RECORD_CALLS = """() => {
  const real = history.replaceState;
  window.calls = [];
  window.moves = 0;
  history.replaceState = (...it) => {
    window.calls.push(performance.now());
    real.apply(history, it);
  };
  addEventListener("pointermove", () => { window.moves += 1; });
}"""


def test_a_long_drag_changes_the_address_seldom(page: Page) -> None:
    """Firefox lets it change 200 times in 10 seconds, Safari 100 times."""
    opened(page, "a line fit")
    page.evaluate(RECORD_CALLS)
    box = page.get_by_role("slider", name="Example 5").bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 30, y + 90, steps=60)
    page.mouse.up()
    target = page.get_by_label("target 1 of example 5")
    value = re.escape(target.input_value())
    assert value != "3"
    expect(page).to_have_url(re.compile(rf"&y=-3;-1;0;1;{value}&"))
    calls = page.evaluate("window.calls")
    assert 0 < len(calls) < page.evaluate("window.moves")
    assert all(after - before > 450 for before, after in pairwise(calls))
    page.goto(page.url)
    expect(target).to_have_value(re.compile(f"^{value}$"))


def test_a_click_on_a_point_leaves_the_race(page: Page) -> None:
    opened(page, "a line fit")
    raced(page)
    page.get_by_role("slider", name="Example 5").click()
    page.get_by_role("button", name="One step by each").click()
    expect(page.locator("#race-summary")).to_contain_text("After 51 steps ")


def test_what_is_refused_is_not_drawn(open_page: OpenPage, running: Running) -> None:
    page = open_page(running.link, expected="ERR_FAILED")
    opened(page, "a line fit")
    page.route("**/v1/gradients", lambda route: route.abort())
    for _ in range(2):
        page.get_by_role("button", name="Add an example").click()
    expect(page.locator("#refused")).to_be_visible()
    residuals = page.locator("#plot .residual")
    residuals.first.evaluate("(it) => it.setAttribute('data-old', true)")
    page.set_viewport_size({"width": 1000, "height": 800})
    expect(residuals.first).not_to_have_attribute("data-old", "true")  # drawn again
    expect(residuals).to_have_count(5)
    expect(page.locator("#plot .point")).to_have_count(5)
    page.unroute("**/v1/gradients")
    page.get_by_label("0.weight").fill("2")
    expect(page.locator("#plot .point")).to_have_count(7)


def test_a_finger_moves_a_point(open_page: OpenPage, running: Running) -> None:
    page = open_page(running.link)
    opened(page, "a line fit")
    touch = page.context.new_cdp_session(page)
    touch.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
    box = page.get_by_role("slider", name="Example 5").bounding_box()
    assert box
    place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    for kind, points in (
        ("touchStart", [place]),
        ("touchMove", [{**place, "x": place["x"] - 60}]),
        ("touchEnd", []),
    ):
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    x = page.get_by_label("x1 of example 5")
    expect(x).not_to_have_value("2")
    assert float(x.input_value()) < 2
    expect(sentence(page)).not_to_have_text(SENTENCES["a line fit"])


def test_arrow_keys_move_a_point_which_keeps_the_focus(page: Page) -> None:
    opened(page, "a line fit")
    point = page.get_by_role("slider", name="Example 5")
    point.focus()
    for key in ("ArrowUp", "ArrowUp", "ArrowLeft", "Shift+ArrowDown"):
        page.keyboard.press(key)
    expect(point).to_have_attribute("aria-valuetext", "x 1.9, target 2.2")
    expect(page.get_by_label("target 1 of example 5")).to_have_value("2.2")
    expect(sentence(page)).to_contain_text("−4.872")  # −2/5 Σ x y
    expect(point).to_be_focused()


def test_a_probability_stays_between_0_and_1(page: Page) -> None:
    opened(page, "a line fit")
    page.locator("#loss").select_option("sigmoid_cross_entropy")
    page.get_by_label("target 1 of example 1").fill("1")
    page.get_by_label("target 1 of example 2").fill("0")
    page.get_by_label("target 1 of example 5").fill("1")
    point = page.get_by_role("slider", name="Example 1")
    point.focus()
    page.keyboard.press("ArrowUp")
    expect(point).to_have_attribute("aria-valuetext", "x -2, target 1")


def test_the_race_is_won_by_the_mean(page: Page, shot: Shot) -> None:
    opened(page, "a line fit")
    page.get_by_role("button", name="One step by each").click()
    summary = page.locator("#race-summary")
    expect(summary).to_have_text(
        "After 1 step the mean has loss 2.59, averaging the errors first 4 and the mean example 4."
    )
    page.get_by_role("button", name="Reset").click()
    expect(summary).to_be_empty()
    assert raced(page) == (
        "After 50 steps the mean has loss 0.08, averaging the errors first 4 "
        "and the mean example 4."
    )
    for name in ("mean", "averaged_error", "mean_example"):
        expect(page.locator(f"#losses .curve.{name}")).to_have_count(1)
        expect(page.locator(f"#plot .curve.{name}")).to_have_count(1)
    shot(page, "try-it-race", height=720)
    page.get_by_label("0.bias").fill("1")  # another start
    expect(summary).to_be_empty()
    expect(page.locator("#plot .curve.mean_example")).to_have_count(0)


def test_a_race_that_diverges_says_so(open_page: OpenPage, running: Running) -> None:
    page = open_page(running.link, expected="status of 422")
    opened(page, "a line fit")
    page.get_by_label("Learning rate").fill("10")
    assert re.match(
        r"After 50 steps the mean diverged at step \d+, averaging the errors first has loss 4 ",
        raced(page),
    )


def test_without_motion_only_the_end_is_drawn(page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    opened(page, "two layers")
    page.evaluate("""() => {
      window.drawn = 0;
      new MutationObserver(() => { window.drawn += 1; })
        .observe(document.querySelector("#losses > g"), { childList: true });
    }""")
    assert raced(page).startswith("After 50 steps the mean has loss 0.186, ")
    assert page.evaluate("window.drawn") == 1


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_both_themes_have_contrast(open_page: OpenPage, running: Running, theme: str) -> None:
    page = open_page(running.link)
    page.emulate_media(color_scheme=theme)
    opened(page, "two layers")
    assert low_contrast(page) == []
    raced(page)
    assert low_contrast(page) == []
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for width, height in ((1280, 900), (1280, 720), (400, 900)):
        page.set_viewport_size({"width": width, "height": height})
        page.screenshot(path=SCREENSHOTS / f"try-it-{theme}-{width}-{height}.png")
