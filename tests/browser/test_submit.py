"""The form, the YAML and the plan of a job in the browser: each follows the other."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from batchgrad.contract import JobSpec
from batchgrad.parsing.spec_files import parse_job
from tests.browser.conftest import OpenPage, Running, Shot
from tests.browser.contrast import low_contrast
from tests.browser.submitting import SPEC, answered, expect_text, text, write


def figures(page: Page) -> dict[str, str]:
    found: dict[str, str] = page.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll("#plan [data-figure]")]
             .map((one) => [one.dataset.figure, one.textContent]))"""
    )
    return found


def test_the_form_changes_its_lines_of_the_yaml_alone(page: Page) -> None:
    write(page)
    page.get_by_label("Learning rate", exact=True).fill("0.05")
    now = SPEC.replace("learning_rate: 0.1", "learning_rate: 0.05")
    expect_text(page, now)
    page.get_by_label("Kind", exact=True).select_option("adam")
    now = now.replace("kind: sgd", "kind: adam")
    expect_text(page, now)
    page.get_by_label("Kind of item 1").select_option("relu")
    now = now.replace("kind: tanh", "kind: relu")
    expect_text(page, now)
    page.get_by_label("Move item 1 up").click()
    first, second = "    - {kind: linear, out_features: 32}  # hidden\n", "    - {kind: relu}\n"
    now = now.replace(first + second, second + first)
    expect_text(page, now)
    expect(page.get_by_label("Remove item 0")).to_be_focused()  # it is first, and cannot go up
    page.get_by_label("Remove item 0").click()
    now = now.replace(second, "")
    expect_text(page, now)
    page.get_by_label("Kind to add to layers").select_option("dropout")
    page.get_by_role("button", name="Add", exact=True).click()
    last = "    - {kind: linear, out_features: 10}\n"
    expect_text(page, now.replace(last, f"{last}    - {{kind: dropout}}\n"))
    page.get_by_role("button", name="Undo").click()
    expect_text(page, now)
    expect(page.get_by_label("Kind of item 2")).to_have_count(0)


def test_the_yaml_changes_the_form_and_a_field_keeps_the_focus(page: Page) -> None:
    write(page)
    editor = page.get_by_label("Job spec (YAML)")
    editor.fill(
        SPEC.replace("kind: sgd", "kind: adamw").replace(
            "epochs: 2", "steps: 7\nprivacy: {epsilon: 2, delta: 1e-5, clip_norm: 0.5}"
        )
    )
    expect(page.get_by_label("Kind", exact=True)).to_have_value("adamw")
    expect(page.get_by_label("Beta1", exact=True)).to_be_visible()
    expect(page.get_by_label("Steps", exact=True)).to_have_value("7")
    expect(page.get_by_label("Epochs", exact=True)).to_have_value("")
    expect(page.get_by_label("Epsilon", exact=True)).to_have_value("2")  # the section has opened
    editor.fill(SPEC.replace("epochs: 2", "epochs: [2"))
    expect(page.locator("#no-form")).to_be_visible()
    expect(page.locator("#lines li.wrong")).to_have_count(1)
    editor.fill(SPEC)
    expect(page.locator("#no-form")).to_be_hidden()
    epochs = page.get_by_label("Epochs", exact=True)
    epochs.fill("")
    epochs.press_sequentially("12")
    expect_text(page, SPEC.replace("epochs: 2", "epochs: 12"))
    answered(page)
    expect(epochs).to_be_focused()
    epochs.press_sequentially("0")
    expect_text(page, SPEC.replace("epochs: 2", "epochs: 120"))


def test_the_form_offers_what_the_contract_has(page: Page) -> None:
    write(page)
    schema: dict[str, Any] = JobSpec.model_json_schema()
    unions = {
        "Kind to add to layers": schema["$defs"]["JobModel"]["properties"]["layers"]["items"],
        "Kind": schema["properties"]["optimizer"],
        "Schedule": schema["$defs"]["Sgd"]["properties"]["schedule"],
    }
    for label, union in unions.items():
        offered = page.get_by_label(label, exact=True).locator("option").all_inner_texts()
        kinds = list(union["discriminator"]["mapping"])
        assert sorted(one for one in offered if "(default)" not in one) == sorted(kinds)
    fields = page.locator("#form [id^='field/']").evaluate_all("all => all.map((one) => one.id)")
    assert {one.split("/")[1] for one in fields} == set(schema["properties"])


def test_keys_and_words_are_completed_with_the_keyboard(page: Page, shot: Shot) -> None:
    write(page)
    editor, listed = page.get_by_label("Job spec (YAML)"), page.get_by_role("listbox")
    editor.press("Control+End")
    editor.press_sequentially("see")
    expect(listed.get_by_role("option")).to_have_count(1)
    assert editor.get_attribute("aria-activedescendant") == "completion-0"
    editor.press("Tab")
    expect_text(page, SPEC + "seed: ")
    expect(listed).to_be_hidden()
    editor.press_sequentially("3\nupdate: ")
    editor.press("Control+Space")
    expect(listed.get_by_role("option")).to_have_count(4)
    shot(page, "submit-completion")
    editor.press("ArrowDown")
    editor.press("ArrowUp")
    editor.press("ArrowUp")
    expect(listed.get_by_role("option", selected=True)).to_contain_text("mean_of_means")
    editor.press("Escape")
    expect(listed).to_be_hidden()
    expect(editor).to_be_focused()
    editor.press("Control+Space")
    expect(listed).to_be_visible()
    editor.press("Enter")
    expect_text(page, SPEC + "seed: 3\nupdate: mean_gradient")


def test_errors_stand_at_the_line_and_beside_the_field(page: Page) -> None:
    write(page)
    rate = page.get_by_label("Learning rate", exact=True)
    rate.fill("-1")
    beside = page.locator("[id='error/optimizer/learning_rate']")
    expect(beside).to_contain_text("got -1; expected more than 0")
    assert rate.get_attribute("aria-invalid") == "true"
    wrong = page.locator("#lines li.wrong")
    expect(wrong).to_have_count(1)
    assert wrong.evaluate("it => [...it.parentNode.children].indexOf(it)") == 9
    listed = page.locator("#errors")
    listed.get_by_role("link", name="Line 10").click()
    selected = "document.getElementById('spec')"
    line = page.evaluate(
        f"{selected}.value.slice({selected}.selectionStart, {selected}.selectionEnd)"
    )
    assert line == "optimizer: {kind: sgd, learning_rate: -1}"
    listed.get_by_role("link", name="Field").click()
    expect(rate).to_be_focused()
    rate.fill("0.1")
    expect(listed).to_be_hidden()
    expect(beside).to_be_hidden()
    page.get_by_label("Job spec (YAML)").fill(SPEC.replace("dataset: digits", "dataset: none"))
    expect(page.locator("[id='error/dataset']")).to_contain_text("There is no dataset")
    expect(page.locator("#plan")).to_have_class("stale")


def test_the_plan_is_that_of_the_client(page: Page, running: Running) -> None:
    write(page)
    spec = SPEC
    for wanted in ("out_features: 48", "out_features: 128"):
        page.get_by_label("Out features", exact=True).first.fill(wanted.partition(" ")[2])
        spec = SPEC.replace("out_features: 32", wanted)
        expect_text(page, spec)
        plan = running.client.plan(parse_job(spec))
        expect(page.locator("[data-figure=parameters]")).to_have_text(f"{plan.parameters:,}")
        answered(page)
        shown = figures(page)
        memory = shown.pop("memory_bytes")
        assert memory.endswith("iB")
        assert {key: int(one.replace(",", "")) for key, one in shown.items()} == {
            key: vars(plan)[key] for key in shown
        }
    assert len(shown) >= 7


def test_ctrl_enter_submits_what_was_just_typed(page: Page, running: Running) -> None:
    write(page)
    epochs = page.get_by_label("Epochs", exact=True)
    epochs.fill("3")
    epochs.press("Control+Enter")
    page.wait_for_url("**/jobs/job_*")
    assert running.client.job(page.url.rpartition("/")[2]).spec.epochs == 3


def test_a_refused_job_is_told_so_and_its_text_stays(open_page: OpenPage, running: Running) -> None:
    page = open_page(running.link, expected="status of 422")
    wrong = SPEC.replace("dataset: digits", "dataset: none")
    write(page, wrong)
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("alert")).to_contain_text("The job was not submitted")
    expect_text(page, wrong)
    answered(page)
    expect(page.get_by_role("alert")).to_contain_text("The job was not submitted")
    expect(page.locator("[id='error/dataset']")).to_contain_text("There is no dataset")


@pytest.mark.parametrize("start", ["layers", "table", "module", "private"])
def test_specs_to_start_from_need_at_most_what_is_not_there(page: Page, start: str) -> None:
    page.goto(f"/submit?start={start}")
    answered(page)
    expect(page.locator("#no-form")).to_be_hidden()
    errors = page.locator("#errors li").all_inner_texts()
    if start in {"layers", "private"}:
        assert errors == []
        parse_job(text(page))
    else:
        assert len(errors) == 1


def test_the_page_works_without_a_script(open_page: OpenPage, running: Running) -> None:
    page = open_page(running.link)
    state = page.context.storage_state()
    context = page.context.browser
    assert context
    plain = context.new_context(
        base_url=page.url, storage_state=state, java_script_enabled=False
    ).new_page()
    try:
        plain.goto("/submit")
        expect(plain.get_by_role("heading", name="Form")).to_be_hidden()
        plain.get_by_label("Job spec (YAML)").fill(SPEC)
        plain.get_by_role("button", name="Check only").click()
        expect(plain.locator("[data-figure=steps_planned]")).to_have_text("16")
        plain.get_by_label("Job spec (YAML)").fill(SPEC.replace("epochs: 2", "epochs: x"))
        plain.get_by_role("button", name="Submit").click()
        expect(plain.get_by_role("alert")).to_contain_text("Line 12")
    finally:
        plain.context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1280, 720), (1280, 900), (400, 800)])
def test_each_size_and_theme_is_readable(
    open_page: OpenPage, running: Running, theme: str, width: int, height: int
) -> None:
    page = open_page(running.link, width=width, height=height)
    page.emulate_media(color_scheme=theme)
    write(page, SPEC.replace("epochs: 2", "epochs: x"))
    for view in ("form", "yaml", "plan"):
        if width == 400:
            page.get_by_role("button", name=view, exact=False).first.click()
        assert low_contrast(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    expect(page.get_by_role("button", name="Submit")).to_be_in_viewport()
