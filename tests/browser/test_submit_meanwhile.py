"""A job's form and YAML: what a user does between two answers of the service is not undone."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.submitting import SPEC, answered, expect_text, held, text, write

FIRST = "    - {kind: linear, out_features: 32}  # hidden\n"


def test_a_number_typed_digit_by_digit_keeps_its_key_and_comment(page: Page) -> None:
    page.clock.install()
    spec = SPEC.replace(
        "optimizer: {kind: sgd, learning_rate: 0.1}",
        "optimizer:\n  learning_rate: 0.1  # tuned\n  kind: sgd",
    )
    write(page, spec)
    rate = page.get_by_label("Learning rate", exact=True)
    rate.select_text()
    rate.press_sequentially("1e-")
    page.clock.run_for(1000)  # more than it waits after the last key
    rate.press_sequentially("5")
    expect_text(page, spec.replace("0.1", "1e-5"))
    answered(page)
    expect_text(page, spec.replace("0.1", "1e-5"))


def test_undo_is_there_only_while_nothing_was_written_since(page: Page) -> None:
    write(page)
    editor, undo = page.get_by_label("Job spec (YAML)"), page.get_by_role("button", name="Undo")
    epochs, three = page.get_by_label("Epochs", exact=True), SPEC.replace("epochs: 2", "epochs: 3")
    expect(undo).to_be_hidden()
    epochs.fill("3")
    expect_text(page, three)
    expect(undo).to_be_visible()
    editor.press("Control+End")
    editor.press_sequentially("#")
    expect(undo).to_be_hidden()
    epochs.fill("4")
    expect_text(page, three.replace("epochs: 3", "epochs: 4") + "#")
    undo.click()
    expect_text(page, three + "#")
    expect(undo).to_be_hidden()
    editor.press("Control+End")
    editor.press("Backspace")
    undo.click()  # the text is the form's again
    expect_text(page, SPEC)
    expect(undo).to_be_hidden()


def test_undo_goes_when_a_word_is_completed(page: Page) -> None:
    write(page)
    page.get_by_label("Epochs", exact=True).fill("3")
    undo = page.get_by_role("button", name="Undo")
    expect(undo).to_be_visible()
    editor = page.get_by_label("Job spec (YAML)")
    editor.press("Control+End")
    editor.press("Control+Space")
    expect(page.get_by_role("listbox")).to_be_visible()
    editor.press("Enter")
    expect(page.get_by_role("listbox")).to_be_hidden()
    expect(undo).to_be_hidden()
    assert text(page).startswith(SPEC.replace("epochs: 2", "epochs: 3"))


@pytest.mark.parametrize("move", ["click", "PageUp"])
def test_completions_close_when_the_cursor_moves(page: Page, move: str) -> None:
    write(page)
    editor, listed = page.get_by_label("Job spec (YAML)"), page.get_by_role("listbox")
    editor.press("Control+End")
    editor.press("Control+Space")
    expect(listed).to_be_visible()
    if move == "click":
        editor.click(position={"x": 5, "y": 5})
    else:
        editor.press(move)
    expect(listed).to_be_hidden()


def test_completions_are_not_inserted_over_what_was_selected_since(page: Page) -> None:
    write(page)
    editor = page.get_by_label("Job spec (YAML)")
    editor.press("Control+End")
    editor.press("Control+Space")
    expect(page.get_by_role("listbox")).to_be_visible()
    editor.press("Control+a")
    editor.press("Enter")
    expect_text(page, "\n")


@pytest.mark.parametrize("move", ["click", "Control+Home"])
def test_completions_that_come_late_are_not_for_another_place(page: Page, move: str) -> None:
    write(page)
    editor = page.get_by_label("Job spec (YAML)")
    editor.press("Control+End")
    with (
        page.expect_request_finished(lambda one: one.url.endswith("/submit/completions")),
        held(page, "**/submit/completions"),
    ):
        editor.press("Control+Space")
        if move == "click":
            editor.click(position={"x": 5, "y": 5})
            editor.press("Home")
        else:
            editor.press(move)
    page.evaluate("() => new Promise((done) => setTimeout(done))")  # the page has had its answer
    expect(page.get_by_role("listbox")).to_be_hidden()
    editor.press("Enter")
    expect_text(page, "\n" + SPEC)


def test_a_second_item_is_not_removed_before_the_first_is_gone(page: Page) -> None:
    write(page)
    with held(page, "**/submit/draft"):
        page.get_by_label("Remove item 0").click()
        page.get_by_label("Remove item 1").click()
    now = SPEC.replace(FIRST, "")
    expect_text(page, now)
    answered(page)
    expect_text(page, now)
    page.get_by_label("Remove item 1").click()
    expect_text(page, now.replace("    - {kind: linear, out_features: 10}\n", ""))


def test_a_number_typed_before_an_item_is_removed_is_kept(page: Page) -> None:
    write(page)
    with held(page, "**/submit/draft"):
        page.get_by_label("Out features", exact=True).last.fill("9")
        page.get_by_label("Remove item 0").click()
    expect_text(page, SPEC.replace(FIRST, "").replace("out_features: 10", "out_features: 9"))


@pytest.mark.parametrize("label", ["Name", "Job spec (YAML)"])
def test_the_focus_stays_where_the_user_has_gone_since(page: Page, label: str) -> None:
    write(page)
    with held(page, "**/submit/draft"):
        page.get_by_label("Remove item 0").click()
        page.get_by_label(label, exact=True).click()
    expect_text(page, SPEC.replace(FIRST, ""))
    answered(page)
    expect(page.get_by_label(label, exact=True)).to_be_focused()


def test_a_section_that_the_user_closed_stays_closed(page: Page) -> None:
    private = SPEC + "privacy: {epsilon: 2, delta: 1e-5, clip_norm: 0.5}\n"
    write(page, private)
    epsilon = page.get_by_label("Epsilon", exact=True)
    expect(epsilon).to_be_visible()
    page.get_by_role("heading", name="Privacy").click()
    expect(epsilon).to_be_hidden()
    page.get_by_label("Epochs", exact=True).fill("3")
    expect_text(page, private.replace("epochs: 2", "epochs: 3"))
    answered(page)
    expect(epsilon).to_be_hidden()
    editor = page.get_by_label("Job spec (YAML)")
    editor.fill(SPEC)
    answered(page)
    editor.fill(private)
    expect(epsilon).to_be_visible()  # the key is new again
