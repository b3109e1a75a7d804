"""The question itself, on one screen: presets, the equation of the gap, edits, the link."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import OpenPage, Running, Shot

# By preset: its sentence, and the terms of the gap of the parameter it speaks of.
SENTENCES = {
    "a line fit": "At 0.weight the gradient is −5.6; averaging the errors first gives 0.",
    "one sigmoid neuron": (
        "At 0.weight the gradient is −0.09831; averaging the errors first gives −0.1175."
    ),
    "a linear error": "Averaging the errors first is exact for these examples.",
    "two layers": (
        "At 0.weight[1,0] the gradient is −1.469; averaging the errors first gives 0.2552."
    ),
    "three classes": (
        "At 0.weight[1,1] the gradient is −0.2741; averaging the errors first gives 0."
    ),
}


def cell(page: Page, row: str, column: int) -> str:
    found = page.locator("#gradients tr").filter(has=page.locator("th", has_text=row))
    return found.locator("td").nth(column).text_content() or ""


def sentence(page: Page) -> Locator:
    return page.locator("#summary strong")


def computed(page: Page) -> None:
    """Wait until what is shown is the answer for what is entered."""
    expect(page.locator("#train")).to_have_attribute("aria-disabled", "false")


@pytest.mark.parametrize("preset", SENTENCES)
def test_the_sentence_of_each_preset_has_its_figures_and_the_equation_adds_up(
    page: Page, preset: str
) -> None:
    page.goto("/try")
    page.get_by_label("Start from").select_option(preset)
    expect(sentence(page)).to_have_text(SENTENCES[preset])
    terms = {
        one.get_attribute("data-term"): float(one.get_attribute("data-value") or "nan")
        for one in page.locator("#equation [data-term]").all()
    }
    exact = pytest.approx(terms["exact"], abs=1e-12)
    assert terms["product"] + terms["covariance"] == exact
    assert terms["shortcut"] + terms["covariance"] + terms["propagation"] == exact
    assert page.locator("#equation-of").inner_text() in SENTENCES[preset] + "0.weight"
    shown = [one.inner_text() for one in page.locator("#strips .picked .number").all()]
    assert shown[0] == page.locator("#equation [data-term=exact]").first.inner_text()
    assert shown[1] == page.locator("#equation [data-term=shortcut]").inner_text()


def test_the_propagation_is_told_where_slopes_differ(page: Page) -> None:
    page.goto("/try?start=one-sigmoid-neuron")
    expect(sentence(page)).to_have_text(SENTENCES["one sigmoid neuron"])
    slopes = 0.25, 0.19661193324148185  # of the sigmoid at 0 and 1; the errors are −1
    found = page.locator("#equation")
    mean = -sum(slopes) / 2
    value = found.locator("[data-term=propagation]").get_attribute("data-value")
    at_mean = -0.2350037122015945  # its slope at the mean input
    assert float(value or "nan") == pytest.approx((mean - at_mean) * 0.5, abs=1e-12)
    expect(found).to_contain_text("δ arrives as −0.235, not −0.2233")


def test_the_page_starts_where_the_shortcut_says_nothing(page: Page, shot: Shot) -> None:
    page.goto("/")
    page.get_by_role("link", name="Try it", exact=True).click()
    expect(sentence(page)).to_have_text(SENTENCES["a line fit"])
    expect(page.locator("#summary")).to_contain_text("off by 100% of the gradient")
    expect(page.locator(".claim")).to_contain_text("loss.mean().backward() is right")
    assert [cell(page, f"example {n}", 0) for n in (1, 2)] == ["−12", "−2"]
    assert (cell(page, "mean gradient", 0), cell(page, "averaged_error", 0)) == ("−5.6", "0")
    page.get_by_role("button", name="All numbers").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    shot(page, "try-it", height=720)


def test_the_gap_moves_with_the_examples_and_the_network(
    open_page: OpenPage, running: Running
) -> None:
    page = open_page(running.link, expected="status of 422")  # of the class that there is not
    page.goto("/try?start=one-sigmoid-neuron")
    x = page.get_by_label("x1 of example 2", exact=True)
    expect(sentence(page)).to_contain_text("−0.1175")
    x.fill("0")
    expect(sentence(page)).to_contain_text("exact for these examples")  # equal: nothing differs
    x.fill("1")
    page.get_by_label("0.weight").fill("2")
    expect(sentence(page)).not_to_contain_text("exact")
    page.get_by_label("weight of example 2").fill("0")
    expect(sentence(page)).to_contain_text("exact for these examples")  # one example counts
    page.get_by_role("button", name="Reset").click()
    expect(sentence(page)).to_have_text(SENTENCES["one sigmoid neuron"])
    page.get_by_label("Start from").select_option("a line fit")
    page.get_by_role("button", name="Add an example").click()
    expect(page.locator("#gradients")).to_contain_text("example 6")
    page.get_by_role("button", name="Add a layer").click()
    page.get_by_label("kind of layer 1").select_option("linear")
    page.get_by_label("outputs of layer 0").fill("2")
    expect(page.locator("#strips")).to_contain_text("1.weight[0,1]")
    page.locator("#loss").select_option("softmax_cross_entropy")
    expect(page.locator("#outputs")).to_be_visible()  # no curve of classes over one input
    page.get_by_label("target 1 of example 1").fill("5")
    expect(page.locator("#refused")).to_be_visible()


def test_outputs_are_those_of_the_network(page: Page) -> None:
    page.goto("/try")
    found = page.evaluate("""async () => {
      const { outputs } = await import("/static/try_service.js");
      const layers = [{ kind: "linear", out_features: 2 }, { kind: "gelu" }];
      const parameters = { "0.weight": [[1], [-0.5]], "0.bias": [0.2, 0] };
      return outputs(layers, parameters, [[0.3], [-2]]);
    }""")
    # x Φ(x) at 0.5, −0.15, −1.8, 1
    expected = [
        [0.34573123063700656, -0.06605734614446362],
        [-0.06467457440326649, 0.8413447460685429],
    ]
    assert found == [pytest.approx(row, abs=1e-12) for row in expected]


def test_the_address_keeps_the_setup(page: Page) -> None:
    page.goto("/try")
    expect(sentence(page)).to_have_text(SENTENCES["a line fit"])
    assert page.url.endswith("/try")
    page.get_by_label("Start from").select_option("two layers")
    page.get_by_label("x1 of example 3", exact=True).fill("-1.25")
    page.get_by_label("2.weight[0,1]").fill("0.4")
    page.get_by_label("Learning rate").fill("0.03")
    page.get_by_role("button", name="Presenter size").click()
    computed(page)
    before = page.locator("#strips").inner_text()
    page.reload()
    expect(page.locator("#strips")).to_have_text(before, use_inner_text=True)
    expect(page.get_by_role("button", name="Presenter size")).to_have_attribute(
        "aria-pressed", "true"
    )
    page.get_by_role("button", name="Presenter size").click()
    expect(page.get_by_label("Start from")).to_have_value("two layers")
    expect(page.get_by_label("2.weight[0,1]")).to_have_value("0.4")
    expect(page.get_by_label("Learning rate")).to_have_value("0.03")
    page.get_by_role("button", name="Reset").click()
    expect(sentence(page)).to_have_text(SENTENCES["two layers"])
    expect(page).to_have_url(re.compile(r"/try\?start=two-layers$"))


EDIT_AND_COPY = """(value) => {
  const target = document.querySelector("[aria-label='target 1 of example 1']");
  target.value = value;
  target.dispatchEvent(new Event("input"));
  document.getElementById("copied").textContent = "";
  document.getElementById("copy").click();
}"""


def test_the_link_is_copied(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto("/try?start=two-layers")
    computed(page)
    page.get_by_role("button", name="Copy link").click()
    expect(page.locator("#copied")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == page.url
    for value in ("0.5", "0.6"):  # the address follows only later
        page.evaluate(EDIT_AND_COPY, value)
        expect(page.locator("#copied")).to_have_text("Copied")
        assert f"&y={value};" in page.evaluate("navigator.clipboard.readText()")


def test_arrow_keys_keep_to_the_limits_of_a_number(page: Page) -> None:
    page.goto("/try")
    weight, x = page.get_by_label("weight of example 1"), page.get_by_label("x1 of example 1")
    weight.fill("0.1")
    for _ in range(3):
        weight.press("ArrowDown")
    expect(weight).to_have_value("0")
    x.fill("1000")
    x.press("ArrowUp")
    expect(x).to_have_value("1000")
    computed(page)
    expect(page.locator("#refused")).to_be_hidden()


def test_the_focus_stays_when_shapes_change(page: Page) -> None:
    page.goto("/try?start=two-layers")
    for label, key in (
        ("outputs of layer 0", "ArrowUp"),
        ("kind of layer 1", "ArrowDown"),
        ("Remove layer 1", "Enter"),
    ):
        one = page.get_by_label(label)
        one.focus()
        one.evaluate("(it) => { it.dataset.old = true; }")
        page.keyboard.press(key)
        expect(one).not_to_have_attribute("data-old", "true")
        expect(one).to_be_focused()
    page.get_by_label("Remove example 3").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Add an example")).to_be_focused()


def test_a_service_that_does_not_answer_is_told(open_page: OpenPage, running: Running) -> None:
    page = open_page(running.link, expected="ERR_FAILED")
    page.goto("/try")
    computed(page)
    page.route("**/v1/gradients", lambda route: route.abort())
    page.get_by_label("0.weight").fill("1")
    expect(page.locator("#refused")).to_contain_text("The service does not answer.")
    expect(page.locator("#train")).to_have_attribute("aria-disabled", "true")
    page.unroute("**/v1/gradients")
    page.get_by_label("0.weight").fill("2")
    expect(page.locator("#refused")).to_be_hidden()
    computed(page)


LINK = "layers=linear:1&loss=squared_error&x=0,1&y=0;1&w=1,1&p=1,0&rate=0.1"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("start=nothing", "start is “nothing”; expected one of a-line-fit,"),
        ("start=constructor", "start is “constructor”; expected one of a-line-fit,"),
        ("start=__proto__", "start is “__proto__”; expected one of a-line-fit,"),
        (LINK.replace("linear:1", "linaer:1"), "layers is “linaer:1”; expected up to 6 of"),
        (LINK.replace("squared", "cubed"), "loss is “cubed_error”; expected one of"),
        (LINK.replace("x=0,1", "x=0;one"), "x is “0;one”; expected up to 12 examples"),
        (LINK, "y is “0;1”; expected 1 for each of the 1 examples"),
        (LINK.replace("x=0,1", "x=0;1").replace("w=1,1", "w=1,-1"), "w is “1,-1”; expected 2"),
        (LINK.replace("x=0,1", "x=0;1").replace("p=1,0", "p=1"), "p is “1”; expected 2 numbers"),
        (LINK.replace("x=0,1", "x=0;1").replace("rate=0.1", "rate=0"), "rate is “0”; expected"),
    ],
)
def test_a_wrong_link_says_what_is_wrong(page: Page, query: str, message: str) -> None:
    page.goto(f"/try?{query}")
    expect(page.locator("#wrong-link")).to_contain_text(message)
    expect(sentence(page)).to_have_text(SENTENCES["a line fit"])
    assert page.url.endswith(query)  # to be mended
    page.get_by_role("button", name="Reset").click()
    expect(page.locator("#wrong-link")).to_be_hidden()
    expect(page).to_have_url(re.compile("/try$"))
