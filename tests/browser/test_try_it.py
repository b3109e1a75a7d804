"""The question itself, edited in the page."""

from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage, Running, Shot


def cell(page: Page, row: str, column: int) -> str:
    found = page.locator("#gradients tr").filter(has=page.get_by_role("rowheader", name=row))
    return found.locator("td").nth(column).inner_text()


def test_the_page_shows_the_error_of_the_shortcut(page: Page, shot: Shot) -> None:
    page.goto("/")
    page.get_by_role("link", name="Try it", exact=True).click()
    summary = page.locator("#summary")
    expect(summary).to_contain_text("At 0.bias the gradient is −0.2233")
    expect(summary).to_contain_text("Averaging the errors first gives −0.2350")
    assert cell(page, "mean gradient", 1) == "−0.2233"
    assert cell(page, "averaged_error", 1) == "−0.2350"
    assert (cell(page, "example 1", 1), cell(page, "example 2", 1)) == ("−0.2500", "−0.1966")
    expect(page.locator("#bars .main-svg").first).to_be_visible()
    shot(page, "try-it", height=1170)


def test_the_gap_moves_with_the_examples_and_the_network(
    open_page: OpenPage, running: Running
) -> None:
    page = open_page(running.link, expected="status of 422")  # of the class that there is not
    page.goto("/try")
    summary = page.locator("#summary")
    x = page.get_by_label("x1 of example 2", exact=True)
    expect(summary).to_contain_text("−0.2350")
    x.fill("0")
    expect(summary).to_contain_text("exact for these examples")  # equal inputs: nothing differs
    x.fill("1")
    page.get_by_label("0.weight").fill("2")
    expect(summary).not_to_contain_text("−0.2233")
    page.get_by_label("weight of example 2").fill("0")
    expect(summary).to_contain_text("exact for these examples")  # one example counts
    page.get_by_label("Start from").select_option("a line fit")
    expect(summary).not_to_contain_text("exact for these examples")
    assert cell(page, "mean gradient", 1) == cell(page, "averaged_error", 1)  # the bias is right
    assert cell(page, "mean gradient", 0) != cell(page, "averaged_error", 0)
    page.get_by_role("button", name="Add an example").click()
    expect(page.get_by_role("rowheader", name="example 4")).to_be_visible()
    page.get_by_role("button", name="Add a layer").click()
    page.get_by_label("kind of layer 1").select_option("linear")
    page.get_by_label("outputs of layer 0").fill("2")
    expect(page.get_by_role("columnheader", name="1.weight[0,1]")).to_be_visible()
    page.get_by_label("Loss").select_option("softmax_cross_entropy")
    page.get_by_label("target 1 of example 1").fill("5")
    expect(page.locator("#refused")).to_be_visible()
