"""The charts of a job's page: every step counts, and an open page shows what a reload shows."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from playwright.sync_api import Page, expect

from batchgrad_service.web.numbers import number
from tests.browser.conftest import OpenPage, Running
from tests.browser.long_jobs import SPIKE, lengthen, short_job

MILLION = 1_000_000
ENDS = (500, 3_000, 70_000, 400_000, MILLION)
LOADS = 20
DRAWN_MILLISECONDS = 500
PAINTED_MILLISECONDS = 300
SHOWN = """() => Object.fromEntries(
  [...document.querySelectorAll('.chart:not([hidden]) .plot[data-drawn]')].map(({ id, data }) =>
    [id, JSON.stringify(data.map(({ name, x, y, text }) => [name, x, y, text]))]))"""
UNFOLD = "document.querySelectorAll('details.part').forEach((part) => { part.open = true; })"
# Whether every chart that is in the window is drawn, and when the last of them was.
IN_SIGHT = """() => [...document.querySelectorAll('.plot')].every((plot) =>
  plot.dataset.drawn || !plot.checkVisibility({ contentVisibilityAuto: true })
  || plot.getBoundingClientRect().top > innerHeight)"""
DRAWN = """() => Math.max(...[...document.querySelectorAll('.plot[data-drawn]')]
  .filter((plot) => plot.getBoundingClientRect().top <= innerHeight)
  .map((plot) => Number(plot.dataset.drawn)))"""
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


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
    page.wait_for_function("() => globalThis.loss?.data?.[0].x.at(-1) === 5")
    first_loss = page.evaluate("loss.data[0].y[0]")
    for before, last in pairwise((5, *ENDS)):
        lengthen(running, job_id, before + 1, last)
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        page.wait_for_function("last => loss.data[0].x.at(-1) === last", arg=last)
    shown = page.evaluate(SHOWN)
    page.reload()
    page.wait_for_function("last => globalThis.loss?.data?.[0].x.at(-1) === last", arg=MILLION)
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


def test_a_job_of_one_step_shows_its_point(page: Page, running: Running) -> None:
    page.goto(f"/jobs/{short_job(running, steps=1)}")
    expect(page.locator("#loss .point").first).to_be_visible()
    expect(page.locator("#gap .point").first).to_be_visible()


def loads(page: Page, path: str) -> Iterator[None]:
    """Load the page a few times: this is about the work to do, not about who has the machine."""
    for _ in range(LOADS):
        page.goto(path)
        page.wait_for_function(IN_SIGHT)
        yield


def test_a_hundred_thousand_steps_are_drawn_in_half_a_second(page: Page, long_job: str) -> None:
    """From the click on, by the browser's clock; Plotly's script is cached."""
    painted: list[float] = []
    drawn: list[float] = []
    for _ in loads(page, f"/jobs/{long_job}"):
        painted.append(page.evaluate(PAINTED))
        drawn.append(page.evaluate(DRAWN))
        if min(painted) < PAINTED_MILLISECONDS and min(drawn) < DRAWN_MILLISECONDS:
            break
    print("milliseconds to paint and draw 100,000 steps:", painted, drawn)  # noqa: T201
    assert min(painted) < PAINTED_MILLISECONDS, painted
    assert min(drawn) < DRAWN_MILLISECONDS, drawn


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
