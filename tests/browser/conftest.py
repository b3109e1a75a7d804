"""The service and the browser of the browser tests. `make test-browser` alone collects them."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from sqlalchemy import Connection, create_engine

from batchgrad.client import Client
from batchgrad.user_machine.demo import digits, spec
from batchgrad.user_machine.private_service import private_service
from tests.browser.__main__ import CHROMIUM

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

collect_ignore_glob = [] if os.environ.get(CHROMIUM) else ["test_*.py"]
SCREENSHOTS = Path("build/screenshots")
PATIENCE_SECONDS = 30.0
LAST_STEP = "last => globalThis.loss?.data?.[0].x.at(-1) === last"
"""Whether the losses are drawn, as far as step `last`: for `Page.wait_for_function`."""


@dataclass(frozen=True)
class Running:
    """A running service: its login link, a client, and its database file."""

    link: str
    client: Client
    database: Path

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction on the service's database, outside of the service."""
        engine = create_engine(f"sqlite:///{self.database}", connect_args={"timeout": 10})
        try:
            with engine.begin() as connection:
                yield connection
        finally:
            engine.dispose()


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("service")
    with private_service(folder=folder) as client:
        client.put_arrays("digits", *digits())
        [database], [token] = folder.glob("*/*.sqlite3"), folder.glob("*/token")
        yield Running(f"{client.url}/login#token={token.read_text().strip()}", client, database)


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    from playwright.sync_api import expect, sync_playwright  # noqa: PLC0415 - make test has none

    expect.set_options(timeout=PATIENCE_SECONDS * 1000)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=os.environ[CHROMIUM], args=["--no-sandbox"]
        )
        yield chromium
        chromium.close()


OpenPage = Callable[..., "Page"]
Shot = Callable[..., None]


@pytest.fixture
def open_page(browser: "Browser") -> Iterator[OpenPage]:
    """Open pages; fail if a page logs a problem or sends a request to another host.

    A login link is followed.
    """
    wrong: list[str] = []
    with ExitStack() as stack:

        def opened(
            link: str, *, expected: str = "", width: int = 1280, height: int = 900
        ) -> "Page":
            url = link.partition("/login")[0]
            context = browser.new_context(base_url=url, viewport={"width": width, "height": height})
            stack.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(PATIENCE_SECONDS * 1000)

            def check_message(kind: str, text: str) -> None:
                if kind in {"error", "warning"} and not (expected and expected in text):
                    wrong.append(text)

            def check_request(address: str) -> None:
                if urlsplit(address).netloc != urlsplit(url).netloc:
                    wrong.append(f"request to {address}")

            page.on("console", lambda message: check_message(message.type, message.text))
            page.on("pageerror", lambda error: check_message("error", str(error)))
            page.on("request", lambda request: check_request(request.url))
            if link != url:
                page.goto(link)
                page.wait_for_url(f"{url}/")
            return page

        yield opened
    assert wrong == []


@pytest.fixture
def page(open_page: OpenPage, running: Running) -> "Page":
    return open_page(running.link)


@pytest.fixture(scope="session")
def shot() -> Shot:
    """Save a screenshot of the top of a page, 1280 pixels wide."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)

    def take(page: "Page", name: str, height: int = 900) -> None:
        page.set_viewport_size({"width": 1280, "height": height})
        page.screenshot(path=SCREENSHOTS / f"{name}.png", animations="disabled")

    return take


@pytest.fixture(scope="session")
def trained(running: Running) -> str:
    """The id of a succeeded job."""
    return running.client.wait(running.client.submit(spec(0, None, 30)).id).id
