"""A job's examples in the browser: predictions beside labels, the confusion table, suspects."""

import csv
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from batchgrad.contract import Ledger
from batchgrad.user_machine.demo import digits
from tests.browser.conftest import SCREENSHOTS, OpenPage, Running, Shot
from tests.browser.contrast import low_contrast

SPEC = {
    "name": "audited",
    "dataset": "mislabelled",
    "model": {"layers": [{"kind": "linear", "out_features": 10}]},
    "loss": "softmax_cross_entropy",
    "optimizer": {"kind": "sgd", "learning_rate": 0.05, "momentum": 0.9},
    "batch_size": 64,
    "epochs": 10,
    "validation_fraction": 0.3,
    "workers": 0,
}
CHANGED = range(0, 60, 3)
ROWS = "#ledger [data-example]"
PLACES = f"{ROWS} .prediction b"
PARTS = """one => ({ example: Number(one.dataset.example),
  label: one.querySelector(".answers dd").textContent.trim(),
  predicted: one.querySelector(".prediction b").textContent.trim(),
  differs: one.querySelector(".prediction").classList.contains("differs") })"""


@pytest.fixture(scope="module")
def audited(running: Running) -> str:
    """The id of a job on the digits, of which some have another label."""
    inputs, labels = digits()
    labels = labels.copy()
    labels[list(CHANGED)] = (labels[list(CHANGED)] + 1) % 10
    running.client.put_arrays("mislabelled", inputs, labels)
    return running.client.wait(running.client.submit(SPEC).id).id


def cards(page: Page, within: str = ROWS) -> list[dict[str, Any]]:
    """The cards that are shown, when all predictions have come."""
    rows = page.locator(within)
    expect(rows.locator(".prediction b")).to_have_count(rows.count())
    parts: list[dict[str, Any]] = rows.evaluate_all(f"all => all.map({PARTS})")
    return parts


def test_predictions_stand_beside_labels_and_are_the_client_s(
    page: Page, running: Running, audited: str, shot: Shot
) -> None:
    page.goto(f"/jobs/{audited}/examples")
    shown = cards(page)
    inputs, labels = digits()
    examples = [card["example"] for card in shown]
    expected = running.client.predict(audited, inputs[examples]).prediction
    assert [int(card["predicted"]) for card in shown] == expected
    assert [card["differs"] for card in shown] == [
        card["label"] != card["predicted"] for card in shown
    ]
    ledger = running.client.examples(audited, order="mean_loss", limit=50)
    assert examples == [entry.example for entry in ledger.data]
    assert [int(card["label"]) for card in shown] == [entry.target for entry in ledger.data]
    wrong = set(CHANGED) & set(examples)
    assert len(wrong) > 8
    assert all(
        int(card["label"]) != labels[card["example"]] for card in shown if card["example"] in wrong
    )
    page.wait_for_function("() => document.querySelector('img.example').naturalWidth === 8")
    box = page.locator("img.example").first.bounding_box()
    assert box is not None
    assert box["width"] >= 128
    shot(page, "examples")


def test_the_table_has_the_same_examples_and_each_is_reached_by_keyboard(
    page: Page, audited: str
) -> None:
    page.goto(f"/jobs/{audited}/examples")
    as_cards = [(card["example"], card["predicted"]) for card in cards(page)]
    page.get_by_role("link", name="Table", exact=True).click()
    expect(page.locator(PLACES)).to_have_count(50)
    found = page.locator(ROWS).evaluate_all(
        """all => all.map(one =>
           [Number(one.dataset.example), one.querySelector(".prediction b").textContent.trim()])"""
    )
    assert [tuple(one) for one in found] == as_cards
    page.get_by_role("link", name="Cards", exact=True).click()
    page.get_by_role("button", name="Download CSV").focus()
    focused = page.locator(":focus")
    for example, _ in as_cards[:3]:
        page.keyboard.press("Tab")
        assert str(focused.get_attribute("href")).endswith(f"/v1/jobs/{audited}/examples/{example}")
        assert focused.evaluate("it => getComputedStyle(it).outlineStyle") == "solid"


def test_predictions_come_on_demand_where_there_are_no_scripts(
    browser: Any, running: Running, page: Page, audited: str
) -> None:
    state = page.context.storage_state()
    with browser.new_context(
        base_url=running.client.url, storage_state=state, java_script_enabled=False
    ) as context:
        plain = context.new_page()
        plain.goto(f"/jobs/{audited}/examples")
        expect(plain.locator(ROWS)).to_have_count(50)
        expect(plain.locator(PLACES)).to_have_count(0)
        plain.get_by_role("link", name="show predictions").click()
        expect(plain.locator(PLACES)).to_have_count(50)


def test_a_job_that_went_on_is_shown_as_it_is_now(page: Page, audited: str) -> None:
    page.route(
        "**/examples?predictions=true",
        lambda route: route.continue_(url=f"{route.request.url}&order=example"),
    )
    page.goto(f"/jobs/{audited}/examples")
    examples = [card["example"] for card in cards(page)]
    assert examples == sorted(examples)


def test_predictions_that_do_not_come_are_told(
    open_page: OpenPage, running: Running, audited: str
) -> None:
    page = open_page(running.link, expected="status of 503")
    page.route("**/examples?predictions=true", lambda route: route.fulfill(status=503))
    page.goto(f"/jobs/{audited}/examples")
    expect(page.get_by_role("status")).to_contain_text("the service answered 503")
    expect(page.locator(ROWS)).to_have_count(50)


@pytest.mark.parametrize(("rows", "count"), [("validation", 539), ("training", 1258)])
def test_a_confusion_s_cells_lead_to_their_examples(
    page: Page, running: Running, audited: str, rows: Any, count: int, shot: Shot
) -> None:
    page.goto(f"/jobs/{audited}/confusion?set={rows}")
    table = page.locator("table.confusion")
    numbers = [
        [int(text) for text in row.locator("td:not(.sum)").all_inner_texts()]
        for row in table.locator("tbody tr").all()
    ]
    assert sum(map(sum, numbers)) == count
    assert numbers == running.client.evaluate(audited, set=rows).confusion
    held = {row.example for row in running.client.rows(audited, set=rows)}
    label, predicted = max(
        ((i, j) for i in range(10) for j in range(10) if i != j),
        key=lambda at: numbers[at[0]][at[1]],
    )
    table.get_by_role("link", name=f"label {label}, predicted {predicted}").click()
    expect(page.get_by_role("heading", level=2, name=f"Label {label}")).to_be_in_viewport()
    shown = cards(page, ".card")
    assert len(shown) == numbers[label][predicted] > 0
    assert {(card["label"], card["predicted"]) for card in shown} == {(str(label), str(predicted))}
    assert {card["example"] for card in shown} <= held
    page.evaluate("scrollTo(0, 0)")
    shot(page, f"confusion-{rows}")


def test_suspects_are_downloaded_as_csv(page: Page, running: Running, audited: str) -> None:
    page.goto(f"/jobs/{audited}/examples")
    page.get_by_label("Most suspicious").fill("70")
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Download CSV").click()
    path = downloading.value.path()
    lines = list(csv.DictReader(path.read_text().splitlines()))
    ledger: Ledger = running.client.examples(audited, order="mean_loss", limit=70, predictions=True)
    assert list(lines[0]) == [
        *("suspicion", "example", "id", "label", "prediction", "probability"),
        *("mean_loss", "mean_norm", "last_loss", "last_norm", "times_seen"),
    ]
    for line, entry in zip(lines, ledger.data, strict=True):
        assert (int(line["example"]), int(line["label"])) == (entry.example, entry.target)
        assert (int(line["prediction"]), float(line["probability"])) == (
            entry.prediction,
            entry.probability,
        )
        assert float(line["mean_loss"]) == entry.mean_loss
    assert [int(line["suspicion"]) for line in lines] == list(range(1, 71))


PATHS = ("examples", "examples?view=table", "confusion", "confusion?label=8&predicted=1")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_every_size_and_theme_can_be_read(
    open_page: OpenPage, running: Running, audited: str, path: str, theme: Any, width: int
) -> None:
    page = open_page(running.link, width=width)
    page.emulate_media(color_scheme=theme)
    page.goto(f"/jobs/{audited}/{path}")
    if path.startswith("examples"):
        expect(page.locator(PLACES)).to_have_count(50)
    name = f"{path.replace('?', '-').replace('&', '-')}-{width}-{theme}"
    page.screenshot(path=SCREENSHOTS / f"{name}.png", animations="disabled")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert low_contrast(page) == []
