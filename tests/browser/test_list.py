"""The list of jobs in the browser: filters in the URL, choosing jobs, local time."""

import re
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

from batchgrad.errors import JobCancelled
from batchgrad.user_machine.demo import spec
from tests.browser.conftest import OpenPage, Running, Shot
from tests.browser.contrast import low_contrast

STEPS = "#jobs tr:has-text('melon') progress"


@pytest.fixture(scope="module")
def listed(running: Running) -> Iterator[dict[str, str]]:
    """The ids of two jobs that have ended and one that trains until the tests are over."""
    made = {}
    for name, team in (("apple", "red"), ("pear", "green")):
        body = {**spec(0, None, 2), "name": name, "labels": {"team": team}}
        made[name] = running.client.submit(body).id
        running.client.wait(made[name])
    body = {**spec(0, None, 10_000_000), "name": "melon"}
    made["melon"] = running.client.submit(body).id
    yield made
    running.client.cancel(made["melon"])
    with pytest.raises(JobCancelled):
        running.client.wait(made["melon"])


def names(page: Page) -> Locator:
    return page.locator("#jobs tbody th > a:first-child")


def query(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def test_the_search_is_in_the_url_and_comes_back_from_it(
    page: Page, listed: dict[str, str]
) -> None:
    page.goto("/")
    page.get_by_label("Search jobs").fill("team=red")
    expect(names(page)).to_have_text(["apple"])
    assert query(page) == {"search": ["team=red"]}
    page.get_by_label("State").select_option("failed")
    expect(page.locator("#jobs")).to_contain_text("No job is like this.")
    assert query(page) == {"search": ["team=red"], "status": ["failed"]}
    page.get_by_label("State").select_option("succeeded")
    expect(page.locator("#jobs tbody tr")).to_have_count(1)
    page.reload()
    expect(page.get_by_label("Search jobs")).to_have_value("team=red")
    expect(page.get_by_label("State")).to_have_value("succeeded")
    expect(names(page)).to_have_text(["apple"])
    page.get_by_role("link", name="team=red", exact=True).click()
    page.wait_for_url("**/?label=team%3Dred")
    expect(names(page)).to_have_text(["apple"])
    page.get_by_label("Search jobs").fill(listed["pear"])
    expect(page.locator("#jobs")).to_contain_text("No job is like this.")
    assert query(page) == {"search": [listed["pear"]], "label": ["team=red"]}


def test_chosen_jobs_stay_chosen_while_the_list_follows_its_jobs(
    page: Page, listed: dict[str, str], shot: Shot
) -> None:
    page.goto("/")
    button = page.get_by_role("button", name="Compare")
    expect(button).to_be_disabled()
    box = page.get_by_label("Compare apple")
    box.focus()
    page.keyboard.press("Space")
    expect(button).to_be_disabled()
    step = page.locator(STEPS).get_attribute("value")
    expect(page.locator(STEPS)).not_to_have_attribute("value", step or "")  # a live refresh
    expect(box).to_be_checked()
    expect(box).to_be_focused()
    page.get_by_label("Search jobs").fill("melon")
    expect(page.locator("#jobs tbody tr")).to_have_count(1)
    page.get_by_label("Compare melon").check()
    expect(page.locator("#count")).to_have_text("2 chosen")
    page.goto("/")
    expect(page.get_by_label("Compare melon")).to_be_checked()
    shot(page, "jobs-chosen")
    button.click()
    page.wait_for_url(f"**/jobs/compare?ids={listed['apple']},{listed['melon']}")
    page.go_back()
    page.get_by_role("button", name="Clear").click()
    expect(box).not_to_be_checked()
    expect(button).to_be_disabled()


def test_moments_are_local_with_utc_on_hover(
    page: Page, running: Running, listed: dict[str, str]
) -> None:
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setTimezoneOverride", {"timezoneId": "Asia/Kolkata"})
    created = running.client.job(listed["melon"]).created_at
    local = f"{created + timedelta(hours=5, minutes=30):%Y-%m-%d %H:%M:%S}"
    page.goto("/")
    time = page.get_by_role("row").filter(has_text="melon").locator("time")
    for _ in range(2):
        expect(time).to_have_text(local)
        expect(time).to_have_attribute("title", f"{created:%Y-%m-%d %H:%M:%S} UTC")
        step = page.locator(STEPS).get_attribute("value")
        expect(page.locator(STEPS)).not_to_have_attribute("value", step or "")  # a live refresh
    page.goto(f"/jobs/{listed['melon']}")
    expect(page.locator("#about time").first).to_have_text(local)
    expect(page.locator("#events time").last).to_have_text(re.compile(r"^\d\d:\d\d:\d\d$"))
    expect(page.locator("#events time").last).to_have_attribute(
        "title", re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$")
    )


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_list_is_readable_on_a_phone(
    open_page: OpenPage, running: Running, listed: dict[str, str], theme: str
) -> None:
    page = open_page(running.link, width=400)
    page.emulate_media(color_scheme=theme)
    page.goto("/?label=team%3Dred")
    page.get_by_label("Compare apple").check()
    expect(names(page)).to_have_text(["apple"])
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert low_contrast(page) == []
