"""Jobs in the browser: submit, watch, pause, resume, cancel, and inspect examples."""

import time

from playwright.sync_api import Page, expect

from batchgrad.contract import FIGURES
from tests.browser.conftest import LAST_STEP, PATIENCE_SECONDS, Running, Shot

CHARTS = (*FIGURES, "gap", "accuracy", "cosine", "layers", "norms", "phases")


def points(page: Page, chart: str) -> int:
    return int(page.locator(f"#{chart}").get_attribute("data-points") or 0)


def open_parts(page: Page) -> None:
    """Unfold every part of a job's page."""
    page.evaluate("document.querySelectorAll('details.part').forEach(part => { part.open = true })")


def submit(page: Page, **changes: str) -> None:
    """Submit the form's example spec with some keys changed."""
    page.goto("/")
    page.get_by_role("link", name="Submit", exact=True).click()
    text = page.get_by_label("Job spec (YAML)")
    spec = text.input_value()
    lines = [line for line in spec.splitlines() if line.partition(":")[0] not in changes]
    text.fill("\n".join([*lines, *(f"{key}: {value}" for key, value in changes.items())]))
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url("**/jobs/*")


def test_a_job_submitted_from_the_page_is_watched_to_its_end(page: Page, shot: Shot) -> None:
    submit(page, name="watched", epochs="1000", workers="0")
    open_parts(page)
    page.set_viewport_size({"width": 1280, "height": 3600})  # every chart is in sight
    state = page.locator("h1 .state")
    expect(page.locator("#loss[data-points]")).to_be_visible()
    expect(state).to_have_text("running")  # it is shown a moment after the first points
    seen = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while state.inner_text() == "running" and time.monotonic() < deadline:
        seen.append(points(page, "gap"))
        time.sleep(0.2)
    expect(state).to_have_text("succeeded")
    assert len(set(seen)) > 2, f"the chart should have filled bit by bit: {seen}"
    for chart in CHARTS:
        expect(page.locator(f"#{chart} .main-svg").first).to_be_visible()
    expect(page.locator("#head progress")).to_have_attribute("value", "6000")
    expect(page.locator("#events")).to_contain_text("succeeded")
    expect(page.get_by_text("Download parameters")).to_be_visible()
    page.wait_for_function(LAST_STEP, arg=6000)
    shot(page, "job", height=920)
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Jobs").click()
    row = page.get_by_role("row").filter(has_text="watched")
    expect(row).to_contain_text("succeeded")
    shot(page, "jobs")


def test_a_job_is_paused_resumed_and_cancelled(page: Page) -> None:
    submit(page, name="paused", epochs="1000000", workers="0")
    state = page.locator("h1 .state")
    expect(state).to_have_text("running")
    expect(page.locator("#loss[data-points]")).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    expect(state).to_have_text("paused")
    at = page.locator("#head progress").get_attribute("value")
    page.get_by_role("button", name="Resume").click()
    expect(state).to_have_text("running")
    expect(page.locator("#head progress")).not_to_have_attribute("value", at or "")
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.get_by_role("button", name="Cancel").click()
    expect(state).to_have_text("running")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Cancel").click()
    expect(state).to_have_text("cancelled")
    expect(page.get_by_role("button", name="Pause")).to_have_count(0)


def test_an_ended_job_trains_on_from_its_page_or_from_elsewhere(
    page: Page, running: Running
) -> None:
    submit(page, name="longer", epochs="2", workers="0")
    state, progress = page.locator("h1 .state"), page.locator("#head progress")
    expect(state).to_have_text("succeeded")
    page.get_by_label("more epochs").fill("3")
    page.get_by_role("button", name="Train on").click()
    expect(progress).to_have_attribute("max", "30")
    expect(progress).to_have_attribute("value", "30")
    expect(state).to_have_text("succeeded")
    page.wait_for_function(LAST_STEP, arg=30)
    running.client.resume(page.url.rpartition("/")[2], more_epochs=2)
    page.evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")
    expect(progress).to_have_attribute("value", "42")
    page.wait_for_function(LAST_STEP, arg=42)
    expect(page.get_by_role("button", name="Train on")).to_be_visible()


def test_the_list_follows_its_jobs(page: Page, running: Running) -> None:
    page.goto("/")
    job = running.client.submit(
        {
            "name": "listed",
            "dataset": "digits",
            "model": {"layers": [{"kind": "linear", "out_features": 10}]},
            "loss": "softmax_cross_entropy",
            "optimizer": {"kind": "sgd", "learning_rate": 0.01},
            "batch_size": 256,
            "steps": 5,
            "workers": 0,
        }
    )
    row = page.get_by_role("row").filter(has_text="listed")
    expect(row).to_contain_text("succeeded")
    expect(row).to_contain_text("5/5")
    assert running.client.job(job.id).status == "succeeded"
