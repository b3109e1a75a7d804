"""Open pages go on after failures, and keep what a user has done to them."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Route, expect

from batchgrad.errors import JobCancelled
from batchgrad.user_machine.demo import spec
from tests.browser.conftest import OpenPage, Running

REFUSED = "the server responded with a status of"
# Fail the page's first fetch of an address that contains `part`.
FAIL_ONCE = """(() => {{
  const fetched = globalThis.fetch;
  globalThis.fetch = (address, ...rest) => {{
    if (globalThis.failed || !String(address).includes('{part}')) return fetched(address, ...rest);
    globalThis.failed = true;
    return {answer};
  }};
}})()"""


@pytest.fixture(scope="module")
def endless(running: Running) -> Iterator[str]:
    """The id of a job that trains until the tests are over."""
    changes = {"name": "endless", "checkpoint_interval_seconds": 2}
    job = running.client.submit({**spec(0, None, 10_000_000), **changes}).id
    yield job
    running.client.cancel(job)
    with pytest.raises(JobCancelled):
        running.client.wait(job)


def refreshed(page: Page, progress: str) -> None:
    """Wait until the page has shown two new steps."""
    for _ in range(2):
        step = page.locator(progress).get_attribute("value")
        expect(page.locator(progress)).not_to_have_attribute("value", step or "")


def test_a_job_page_goes_on_after_its_event_stream_was_refused(
    open_page: OpenPage, running: Running, endless: str
) -> None:
    page = open_page(running.link, expected=REFUSED)
    refused: list[str] = []

    def refuse_once(route: Route) -> None:
        if refused:
            route.continue_()
        else:
            refused.append(route.request.url)
            route.fulfill(status=503)

    page.clock.install()
    page.route("**/events?*", refuse_once)
    with page.expect_response("**/events?*"):
        page.goto(f"/jobs/{endless}")
    page.clock.fast_forward(10_000)
    refreshed(page, "#head progress")
    assert len(refused) == 1


def test_a_job_page_asks_again_for_points_that_did_not_come(page: Page, trained: str) -> None:
    page.clock.install()
    refused = "Promise.resolve(new Response(null, { status: 503 }))"
    page.add_init_script(FAIL_ONCE.format(part="/curves", answer=refused))
    page.goto(f"/jobs/{trained}")
    page.wait_for_function("() => globalThis.failed")
    page.clock.fast_forward(10_000)
    expect(page.locator("#loss[data-points]")).to_be_visible()


def test_the_list_goes_on_after_an_error(
    open_page: OpenPage, running: Running, endless: str
) -> None:
    page = open_page(running.link, expected="refused on purpose")
    broken = "Promise.reject(new Error('refused on purpose'))"
    page.add_init_script(FAIL_ONCE.format(part="search=endless", answer=broken))
    page.goto("/?search=endless")
    page.wait_for_function("() => globalThis.failed")
    refreshed(page, f"tr:has([href$='{endless}']) progress")


def test_a_menu_and_a_refusal_stay_while_the_job_runs(
    open_page: OpenPage, running: Running, endless: str
) -> None:
    page = open_page(running.link, expected=REFUSED)
    page.route(
        "**/pause",
        lambda route: route.fulfill(status=409, json={"detail": "Not now, said a test."}),
    )
    page.goto(f"/jobs/{endless}")
    page.get_by_role("button", name="Pause").click()
    menu = page.get_by_text("Download parameters")
    menu.click()
    refreshed(page, "#head progress")
    expect(page.get_by_role("link", name="npz")).to_be_visible()
    expect(menu).to_be_focused()
    expect(page.get_by_role("alert")).to_have_text("Not now, said a test.")


def test_a_number_typed_stays_when_its_part_is_replaced(page: Page, trained: str) -> None:
    page.goto(f"/jobs/{trained}")
    page.get_by_label("more epochs").fill("7")
    page.evaluate("document.querySelector('#head .hint').remove()")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator("#head .hint")).to_be_visible()  # a refresh
    expect(page.get_by_label("more epochs")).to_have_value("7")
    expect(page.get_by_label("more epochs")).to_be_focused()


def test_a_scrolled_table_stays_scrolled_and_focused(
    open_page: OpenPage, running: Running, endless: str
) -> None:
    page = open_page(running.link, width=660)
    page.goto("/?search=endless")
    table = page.get_by_role("region", name="Jobs")
    table.focus()
    table.evaluate("it => { it.scrollLeft = 30 }")
    assert table.evaluate("it => it.scrollLeft") == 30
    refreshed(page, f"tr:has([href$='{endless}']) progress")
    assert table.evaluate("it => it.scrollLeft") == 30
    expect(table).to_be_focused()


def test_a_column_sorted_by_keyboard_keeps_the_focus(
    page: Page, trained: str, endless: str
) -> None:
    page.goto(f"/jobs/compare?ids={trained},{endless}")
    link = page.locator("#results").get_by_role("link", name="loss", exact=True)
    link.press("Enter")
    expect(page.locator("#results th[aria-sort]")).to_have_text("loss")
    expect(link).to_be_focused()
