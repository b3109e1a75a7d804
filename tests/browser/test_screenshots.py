"""Every page at three sizes in both themes: pictures, contrast, and no sideways scroll."""

from itertools import product
from typing import Any

import pytest
from playwright.sync_api import expect

from batchgrad.user_machine.demo import spec
from tests.browser.conftest import SCREENSHOTS, OpenPage, Running
from tests.browser.contrast import low_contrast

SIZES = {"wide": (1280, 900), "projector": (1280, 720), "phone": (400, 860)}
PAGES = {
    "jobs": "/",
    "job": "/jobs/{job}",
    "examples": "/jobs/{job}/examples",
    "confusion": "/jobs/{job}/confusion",
    "compare": "/jobs/compare?ids={ids}",
    "submit": "/submit",
    "try": "/try",
    "why": "/why",
    "docs": "/docs",
    "login": "/login",
}
LOADED = """() => [...document.querySelectorAll('.plot')].every((plot) => plot.dataset.drawn
  || plot.offsetParent === null || plot.getBoundingClientRect().top > innerHeight)
  && [...document.images].every((one) => one.complete || one.loading === 'lazy')"""


@pytest.fixture(scope="module")
def places(running: Running) -> dict[str, str]:
    """The job whose pages are shown, and the ids of jobs to compare."""
    over: dict[str, list[Any]] = {"optimizer.learning_rate": [0.3, 0.1, 0.03]}
    body = {**spec(0, None, 30), "name": "digits", "labels": {"course": "deep learning"}}
    swept = [job.id for job in running.client.sweep(body, over, name="learning rates")]
    for job in swept:
        running.client.wait(job)
    return {"job": swept[1], "ids": ",".join(swept)}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_shown(
    open_page: OpenPage, running: Running, places: dict[str, str], name: str
) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page = open_page(running.link)
    for size, theme in product(SIZES, ("light", "dark")):
        width, height = SIZES[size]
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        page.goto(PAGES[name].format(**places))
        expect(page.locator("h1").first).to_be_visible()
        page.wait_for_load_state("networkidle")
        page.wait_for_function(LOADED)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert low_contrast(page) == []
        path = SCREENSHOTS / f"{name}-{size}-{theme}.png"
        whole = size != "projector" and name != "docs"  # which is sixty screens long
        page.screenshot(path=path, full_page=whole, animations="disabled")
