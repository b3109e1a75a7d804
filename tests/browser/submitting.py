"""The page where a job is submitted, for its tests: a spec, its text, and answers that wait."""

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page, Route, expect

SPEC = """\
# my job
name: mine   # of many
dataset: digits
model:
  layers:
    - {kind: linear, out_features: 32}  # hidden
    - {kind: tanh}
    - {kind: linear, out_features: 10}
loss: softmax_cross_entropy
optimizer: {kind: sgd, learning_rate: 0.1}
batch_size: 256
epochs: 2
workers: 0
"""


def text(page: Page) -> str:
    return page.get_by_label("Job spec (YAML)").input_value()


def write(page: Page, spec: str = SPEC) -> None:
    """Open the page, write a spec, and wait until the service has answered about it."""
    page.goto("/submit")
    narrow = page.get_by_role("button", name="YAML")
    if narrow.is_visible():
        narrow.click()
    page.get_by_label("Job spec (YAML)").fill(spec)
    answered(page)


def answered(page: Page) -> None:
    expect(page.locator("#plan[aria-busy=false]")).to_be_attached()


def expect_text(page: Page, spec: str) -> None:
    expect(page.get_by_label("Job spec (YAML)")).to_have_value(spec)


@contextmanager
def held(page: Page, path: str) -> Iterator[None]:
    """Requests for a path wait until the block has ended."""
    waiting: list[Route] = []
    ended = False

    def keep(route: Route) -> None:
        if ended:
            route.continue_()
        else:
            waiting.append(route)

    page.route(path, keep)
    yield
    ended = True
    for route in waiting:
        route.continue_()
