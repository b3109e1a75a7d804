"""Jobs laid over one another in the browser, and the table and lines of a sweep."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from batchgrad.user_machine.demo import spec
from batchgrad_service.web.numbers import number
from tests.browser.conftest import OpenPage, Running, Shot
from tests.browser.contrast import low_contrast
from tests.browser.long_jobs import compute_again, lengthen, short_job

RATES = [0.01, 0.1, 0.03]
SERIES = 10
# Traces of a chart: name, colour, steps; and the colours of the table by the job's name.
TRACES = """id => document.getElementById(id).data.filter((one) => one.name).map((one) =>
  ({ name: one.name, colour: one.line.color, x: one.x, y: one.y }))"""
SWATCHES = """() => Object.fromEntries([...document.querySelectorAll('#results tr[data-series]')]
  .map((row) => [row.dataset.name, getComputedStyle(row.querySelector('.swatch')).color]))"""
CONTRAST = """names => {
  const probe = document.body.appendChild(document.createElement('i'));
  const light = (name) => {
    probe.className = '';
    const value = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const part = (at) => parseInt(value.slice(at, at + 2), 16) / 255;
    const [r, g, b] = [1, 3, 5].map(part)
      .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  return names.flatMap((name) => ['--raised', '--ground'].map((ground) => {
    const [high, low] = [light(name), light(ground)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  }));
}"""


def body(name: str, epochs: int = 3, **changes: Any) -> dict[str, Any]:
    return {**spec(0, None, epochs), "name": name, **changes}


@pytest.fixture(scope="module")
def swept(running: Running) -> list[str]:
    """The ids of a sweep's jobs, at their ends."""
    over: dict[str, list[Any]] = {"optimizer.learning_rate": RATES, "batch_size": [64, 128, 256]}
    made = running.client.sweep(body("swept"), over, name="rates")
    return [running.client.wait(job.id).id for job in made]


def traces(page: Page, chart: str) -> dict[str, dict[str, Any]]:
    """The traces of a chart, once drawn, by their names."""
    page.locator(f"#{chart}").scroll_into_view_if_needed()
    expect(page.locator(f"#{chart}[data-drawn]")).to_be_visible()
    return {one["name"]: one for one in page.evaluate(TRACES, chart)}


def rgb(colour: str) -> str:
    return f"rgb({', '.join(str(int(colour[at : at + 2], 16)) for at in (1, 3, 5))})"


def test_two_jobs_are_laid_over_one_another_and_grow(
    page: Page, running: Running, swept: list[str], shot: Shot
) -> None:
    endless = running.client.submit(body("endless", 10_000_000, seed=5))
    running.client.wait(swept[0])
    page.goto(f"/jobs/compare?ids={swept[0]},{endless.id}")
    expect(page.locator("#results tbody tr")).to_have_count(2)
    page.wait_for_function("() => globalThis.loss?.data?.filter((one) => one.name).length === 2")
    drawn = traces(page, "loss")
    assert set(drawn) == {"swept.1", "endless"}
    rows = list(running.client.steps(swept[0]))
    assert drawn["swept.1"]["x"] == [row.step for row in rows]
    assert drawn["swept.1"]["y"] == [row.loss for row in rows]
    swatches = page.evaluate(SWATCHES)
    for chart in ("loss", "gap"):
        assert {name: rgb(one["colour"]) for name, one in traces(page, chart).items()} == swatches
    assert len(set(swatches.values())) == 2
    last = "() => loss.data.find((one) => one.name === 'endless').x.at(-1)"
    before = page.evaluate(last)
    page.wait_for_function(f"before => ({last})() > before", arg=before)
    expect(page.locator("#results")).to_contain_text("seed")
    expect(page.locator("#results tr", has_text="endless")).to_contain_text("running")
    shot(page, "compare")
    running.client.cancel(endless.id)
    expect(page.locator("#results tr", has_text="endless")).to_contain_text("cancelled")


def test_curves_are_by_step_by_epoch_or_by_time(
    page: Page, running: Running, swept: list[str]
) -> None:
    page.goto(f"/jobs/compare?ids={swept[0]},{swept[1]}")
    steps = traces(page, "loss")["swept.1"]["x"]
    per_epoch = len(steps) / 3
    page.get_by_text("by epoch").click()
    page.wait_for_function("() => loss.layout.xaxis.title.text === 'epoch'")
    assert traces(page, "loss")["swept.1"]["x"] == [step / per_epoch for step in steps]
    page.get_by_label("by epoch").press("ArrowRight")
    page.wait_for_function("() => loss.layout.xaxis.title.text === 'time, s'")
    times = traces(page, "loss")["swept.1"]["x"]
    rows = list(running.client.steps(swept[0]))
    expected = [(row.time - rows[0].time).total_seconds() for row in rows]
    assert times == pytest.approx(expected, abs=0.002)
    page.reload()
    expect(page.get_by_label("by time")).to_be_checked()
    page.wait_for_function("() => globalThis.loss?.layout?.xaxis.title.text === 'time, s'")


def test_the_gap_is_of_the_chosen_shortcut(page: Page, running: Running, swept: list[str]) -> None:
    page.goto(f"/jobs/compare?ids={swept[0]},{swept[1]}")
    rows = list(running.client.steps(swept[0]))
    for name in ("averaged_error", "mean_example"):
        page.locator("#gap-of").select_option(name)
        expected = [row.shortcuts[name].relative_error for row in rows]
        assert traces(page, "gap")["swept.1"]["y"] == pytest.approx(expected, rel=1e-6)


def test_the_table_of_a_chart_has_epochs_and_ends_where_a_job_ends(
    page: Page, running: Running, swept: list[str]
) -> None:
    short = running.client.wait(running.client.submit(body("short", 1)).id)
    page.goto(f"/jobs/compare?ids={swept[0]},{short.id}&by=epoch")
    figure = page.locator("#figure-loss")
    figure.get_by_text("Table", exact=True).click()
    epochs = figure.get_by_role("rowheader")
    expect(epochs).to_have_count(20)
    shown = [float(text) for text in epochs.all_inner_texts()]
    first = number(3 / running.client.job(swept[0]).step)
    assert (shown[0], shown[-1], len(set(shown))) == (float(first), 3, 20)
    cells = figure.locator("tbody td:last-child").all_inner_texts()
    assert [bool(cell) for cell in cells] == [1 / short.step <= epoch <= 1 for epoch in shown]


def test_steps_that_are_computed_again_are_shown_as_a_reload_shows_them(
    page: Page, running: Running
) -> None:
    ids = [short_job(running), short_job(running)]
    lengthen(running, ids[0], 6, 3_000)
    page.goto(f"/jobs/compare?ids={','.join(ids)}")
    last = "last => globalThis.loss?.data?.some((one) => one.x.at(-1) === last)"
    page.wait_for_function(last, arg=3_000)
    before = traces(page, "loss")
    compute_again(running, ids[0], 1_001, 3_500)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_function(last, arg=3_500)
    shown = traces(page, "loss")
    page.reload()
    page.wait_for_function(last, arg=3_500)
    assert traces(page, "loss") == shown != before


def test_a_sweep_is_a_table_to_sort_and_lines_from_settings_to_results(
    page: Page, running: Running, swept: list[str], shot: Shot
) -> None:
    page.goto("/?search=swept")
    page.get_by_role("link", name="sweep=rates").first.click()
    page.wait_for_url("**/jobs/compare?label=sweep%3Drates")
    names = page.locator("#results tbody th a")
    expect(names).to_have_count(9)
    jobs = [running.client.job(one) for one in swept]
    page.get_by_role("link", name="batch_size").click()
    page.get_by_role("link", name="loss", exact=True).click()
    expect(page.locator("#results th[aria-sort]")).to_have_text("loss")
    by_loss = [job.name for job in sorted(jobs, key=lambda job: job.loss or 0)]
    expect(names).to_have_text(by_loss)
    page.get_by_role("link", name="loss", exact=True).click()
    expect(names).to_have_text(by_loss[::-1])
    page.go_back()
    expect(names).to_have_text(by_loss)
    page.reload()
    expect(names).to_have_text(by_loss)

    axes = page.locator("#parallel .axis")
    expect(axes.locator(".name")).to_contain_text(["learning_rate", "batch_size", "loss", "gap"])
    assert axes.first.locator(".tick").all_text_contents() == ["0.01", "0.03", "0.1"]
    lines = page.locator("#parallel .line")
    expect(lines).to_have_count(9)
    first = page.locator(f"#parallel [data-job='{swept[0]}'] path").last
    corners = (first.get_attribute("d") or "").removeprefix("M").split("L")
    assert len(corners) == axes.count()
    page.locator(f"#results tr[data-job='{swept[0]}']").hover()
    expect(page.locator("#parallel .strong")).to_have_attribute("data-job", swept[0])
    colours = page.evaluate(SWATCHES)
    assert len(set(colours.values())) == 9
    assert first.evaluate("it => getComputedStyle(it).stroke") == colours["swept.1"]
    assert {name: rgb(one["colour"]) for name, one in traces(page, "loss").items()} == colours
    row = page.locator(f"#results tr[data-job='{swept[0]}']")
    row.get_by_role("link").focus()
    expect(page.locator("#loss .trace:not(.faint)")).to_have_count(1)
    expect(page.locator("#parallel .strong")).to_have_attribute("data-job", swept[0])
    shot(page, "sweep")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_every_colour_and_text_has_enough_contrast(
    open_page: OpenPage, running: Running, swept: list[str], theme: str, width: int
) -> None:
    page = open_page(running.link, width=width)
    page.emulate_media(color_scheme=theme)
    page.goto("/jobs/compare?label=sweep%3Drates")
    assert len(traces(page, "loss")) == len(swept)
    ratios = page.evaluate(CONTRAST, [f"--series-{number}" for number in range(SERIES)])
    assert min(ratios) >= 3  # WCAG 2.2, 1.4.11
    assert low_contrast(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_what_cannot_be_compared_is_told(
    open_page: OpenPage, running: Running, swept: list[str]
) -> None:
    page = open_page(running.link, expected="the server responded with a status of 4")
    page.goto(f"/jobs/compare?ids={swept[0]}")
    expect(page.locator("main")).to_contain_text("ids names 1 job; expected 2 to 20")
    page.goto(f"/jobs/compare?ids={swept[0]},job_none")
    expect(page.locator("main")).to_contain_text("There is no job 'job_none'")
