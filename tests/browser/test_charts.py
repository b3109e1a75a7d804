"""The charts of a job's page: every step counts, and an open page shows what a reload shows."""

import re
from itertools import pairwise

import pytest
from playwright.sync_api import Page, Route, expect

from batchgrad_service.web.numbers import number
from tests.browser.conftest import LAST_STEP, OpenPage, Running
from tests.browser.long_jobs import SPIKE, compute_again, lengthen, short_job
from tests.cpu_time import least_seconds

MILLION = 1_000_000
ENDS = (500, 3_000, 70_000, 400_000, MILLION)
LOADS = 6
DRAWN_SECONDS = 0.5
PAINTED_SECONDS = 0.3
SHOWN = """() => Object.fromEntries(
  [...document.querySelectorAll('.chart:not([hidden]) .plot[data-drawn]')].map(({ id, data }) =>
    [id, JSON.stringify(data.map(({ name, x, y, text }) => [name, x, y, text]))]))"""
LOOK_AGAIN = "document.dispatchEvent(new Event('visibilitychange'))"
UNFOLD = "document.querySelectorAll('details.part').forEach((part) => { part.open = true; })"
# Whether every chart that is in the window is drawn.
IN_SIGHT = """() => [...document.querySelectorAll('.plot')].every((plot) =>
  plot.dataset.drawn || !plot.checkVisibility({ contentVisibilityAuto: true })
  || plot.getBoundingClientRect().top > innerHeight)"""


@pytest.fixture(scope="module")
def long_job(running: Running) -> str:
    """The id of a job of 100,000 steps."""
    job_id = short_job(running)
    lengthen(running, job_id, 6, 100_000)
    return job_id


def test_an_open_page_shows_what_a_reload_shows_at_a_million_steps(
    open_page: OpenPage, running: Running
) -> None:
    job_id = short_job(running)
    page = open_page(running.link, height=5000)
    page.goto(f"/jobs/{job_id}")
    page.evaluate(UNFOLD)
    page.wait_for_function(LAST_STEP, arg=5)
    first_loss = page.evaluate("loss.data[0].y[0]")
    for before, last in pairwise((5, *ENDS)):
        lengthen(running, job_id, before + 1, last)
        page.evaluate(LOOK_AGAIN)
        page.wait_for_function(LAST_STEP, arg=last)
    shown = page.evaluate(SHOWN)
    page.reload()
    page.wait_for_function(LAST_STEP, arg=MILLION)
    page.wait_for_function(f"count => Object.keys(({SHOWN})()).length === count", arg=len(shown))
    again = page.evaluate(SHOWN)
    assert {"loss", "gap", "cosine", "phases", "gradient_norm", "noise_scale"} <= again.keys()
    for chart in again:
        assert shown[chart] == again[chart], chart
    xs, ys = page.evaluate("[loss.data[0].x, loss.data[0].y]")
    assert (xs[0], ys[0], xs[-1]) == (1, first_loss, MILLION)
    assert len(xs) > 400
    assert max(page.evaluate("loss.data.at(-1).y")) == 1000, f"the spike at step {SPIKE} is lost"
    expect(page.locator("#figure-noise_scale .told")).to_have_text(
        "Undetermined in 25% of the steps."
    )


def test_steps_that_are_computed_again_are_shown_as_a_reload_shows_them(
    open_page: OpenPage, running: Running
) -> None:
    """Also if they are not read at first; meanwhile the charts stay as they are."""
    job_id = short_job(running)
    lengthen(running, job_id, 6, 3_000)
    page = open_page(running.link, height=5000, expected="status of 503")
    page.goto(f"/jobs/{job_id}")
    page.evaluate(UNFOLD)
    page.wait_for_function(LAST_STEP, arg=3_000)
    page.wait_for_function("() => phases.dataset.drawn")
    before = page.evaluate(SHOWN)
    held: list[Route] = []
    page.route("**/curves*", lambda route: held.append(route), times=1)  # noqa: PLW0108 - no builtin
    with page.expect_request("**/curves*"):
        compute_again(running, job_id, 1_001, 3_500)
        page.evaluate(LOOK_AGAIN)
    page.evaluate("document.dispatchEvent(new Event('theme'))")
    assert page.evaluate(SHOWN) == before
    with page.expect_response("**/curves*"):
        held[0].fulfill(status=503)
    lengthen(running, job_id, 3_501, 4_000)
    page.evaluate(LOOK_AGAIN)
    page.wait_for_function(LAST_STEP, arg=4_000)
    shown = page.evaluate(SHOWN)
    page.reload()
    page.wait_for_function(LAST_STEP, arg=4_000)
    page.wait_for_function(f"count => Object.keys(({SHOWN})()).length === count", arg=len(shown))
    assert page.evaluate(SHOWN) == shown
    assert shown["loss"] != before["loss"]


def test_a_zoom_stays_while_the_job_goes_on(page: Page, running: Running) -> None:
    job_id = short_job(running)
    lengthen(running, job_id, 6, 500)
    page.goto(f"/jobs/{job_id}")
    page.wait_for_function(LAST_STEP, arg=500)
    box = page.locator("#loss .nsewdrag").bounding_box()
    assert box
    across = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.3, across)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, across, steps=5)
    page.mouse.up()
    page.wait_for_function("() => loss.layout.xaxis.range[1] < 400")
    zoomed = page.evaluate("loss.layout.xaxis.range")
    lengthen(running, job_id, 501, 600)
    page.evaluate(LOOK_AGAIN)
    page.wait_for_function(LAST_STEP, arg=600)
    assert page.evaluate("loss.layout.xaxis.range") == zoomed
    page.get_by_label("log scale").first.click()
    page.wait_for_function("() => loss.layout.xaxis.range[1] >= 600")


def test_a_part_that_was_folded_while_the_window_changed_fits_it(page: Page, long_job: str) -> None:
    page.goto(f"/jobs/{long_job}")
    part = page.locator("details[data-section=gradients]")
    plot = page.locator("#gradient_norm[data-drawn]")
    part.locator("summary").first.click()
    expect(plot).to_be_visible()
    part.locator("summary").first.click()
    expect(plot).not_to_be_visible()
    page.set_viewport_size({"width": 400, "height": 900})
    part.locator("summary").first.click()
    expect(plot).to_be_visible()
    page.wait_for_function(
        "() => gradient_norm.querySelector('.main-svg').clientWidth === gradient_norm.clientWidth"
    )


def test_a_job_of_one_step_shows_its_point(page: Page, running: Running) -> None:
    page.goto(f"/jobs/{short_job(running, steps=1)}")
    expect(page.locator("#loss .point").first).to_be_visible()
    expect(page.locator("#gap .point").first).to_be_visible()


def work(page: Page, path: str, drawn: str) -> float:
    """The least processor seconds of the page's main thread and the service until it is `drawn`.

    Unlike the time that passes, they hardly depend on who else has the machine, and on which.
    """
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def spent() -> float:
        [service] = re.findall(
            r"^process_cpu_seconds_total (.+)$", page.request.get("/metrics").text(), re.MULTILINE
        )
        metrics = session.send("Performance.getMetrics")["metrics"]
        [thread] = [one["value"] for one in metrics if one["name"] == "TaskDuration"]
        return float(service) + float(thread)

    def load() -> float:
        page.goto("about:blank")
        before = spent()
        page.goto(path)
        page.wait_for_function(drawn)
        return spent() - before

    seconds = least_seconds(load, LOADS)
    print("processor seconds of", path, seconds)  # noqa: T201
    session.detach()
    return seconds


def test_a_hundred_thousand_steps_are_drawn_in_half_a_second(page: Page, long_job: str) -> None:
    """Plotly's script is cached."""
    path = f"/jobs/{long_job}"
    assert work(page, path, IN_SIGHT) < DRAWN_SECONDS


def test_the_first_paint_takes_less_than_a_third_of_a_second(page: Page, long_job: str) -> None:
    """It needs what the server renders, and no script."""
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setScriptExecutionDisabled", {"value": True})
    assert work(page, f"/jobs/{long_job}", "document.readyState === 'complete'") < PAINTED_SECONDS


def test_a_chart_is_a_table_too(page: Page, long_job: str) -> None:
    page.goto(f"/jobs/{long_job}")
    figure = page.get_by_role("figure").filter(has=page.locator("#loss"))
    figure.get_by_text("Table").click()
    table = figure.get_by_role("table")
    expect(table.get_by_role("columnheader")).to_have_text(["step", "training", "validation"])
    steps = table.get_by_role("rowheader").all_inner_texts()
    assert (len(steps), steps[0], steps[-1]) == (20, "1", "100,000")
    cells = table.locator("tbody tr:nth-child(10) td").first.inner_text()
    assert " to " in cells, "the extremes of the bucket stand beside its mean"


def test_a_line_is_hidden_by_its_legend(page: Page, long_job: str) -> None:
    page.goto(f"/jobs/{long_job}")
    legend = page.locator("#figure-gap").get_by_role("button", name="mean_example")
    expect(legend).to_have_attribute("aria-pressed", "true")
    legend.focus()
    page.keyboard.press("Enter")
    expect(legend).to_have_attribute("aria-pressed", "false")
    expect(legend).to_be_focused()
    assert page.evaluate("gap.data.every((trace) => trace.name !== 'mean_example')")


def test_open_parts_are_remembered(page: Page, long_job: str) -> None:
    page.goto(f"/jobs/{long_job}")
    part = page.locator("details[data-section=gradients]")
    expect(page.locator("#gradient_norm")).not_to_be_visible()
    part.locator("summary").first.click()
    expect(page.locator("#gradient_norm[data-drawn]")).to_be_visible()
    page.reload()
    expect(page.locator("#gradient_norm[data-drawn]")).to_be_visible()


def test_charts_are_read_on_a_phone(open_page: OpenPage, running: Running, long_job: str) -> None:
    page = open_page(running.link, width=400, height=8000)
    page.goto(f"/jobs/{long_job}")
    page.evaluate(UNFOLD)
    page.wait_for_function(
        "() => [loss, gap, phases, noise_scale].every((plot) => plot.dataset.drawn)"
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    overlaps = """() => [...document.querySelectorAll('.plot[data-drawn]')].flatMap((plot) =>
      ['.xtick text', '.ytick text'].flatMap((ticks) => {
        const boxes = [...plot.querySelectorAll(ticks)].map((text) => text.getBoundingClientRect());
        return boxes.flatMap((one, i) => boxes.slice(i + 1).filter((other) =>
          one.left < other.right && other.left < one.right
          && one.top < other.bottom && other.top < one.bottom).map(() => `${plot.id} ${ticks}`));
      }))"""
    assert page.evaluate(overlaps) == []
    cut = """() => [...document.querySelectorAll('.plot[data-drawn]')].filter((plot) =>
      [...plot.querySelectorAll('.xtick text, .ytick text')]
        .map((text) => text.getBoundingClientRect())
        .some((box) => box.width > 0 && box.left < plot.getBoundingClientRect().left - 1))
      .map((plot) => plot.id)"""
    assert page.evaluate(cut) == [], "labels of an axis are cut off"


def test_scripts_and_templates_write_numbers_alike(page: Page) -> None:
    tenths = [sign * digits * 10.0**power for sign in (1, -1) for digits in (1, 1.23456, 9.99996)
              for power in range(-12, 12)]  # fmt: skip
    values = [0.0, 2.0625, 0.5, 1 / 3, 123_456.0, 5e-324, 1e300, *tenths]
    script = """async (values) => {
      const { number } = await import("/static/numbers.js");
      return values.map((value) => number(value));
    }"""
    page.goto("/")
    assert page.evaluate(script, values) == [number(value) for value in values]
    assert page.evaluate(script, [None]) == [number(None)]
