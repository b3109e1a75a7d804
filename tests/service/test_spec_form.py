"""The form, the plan and the completions that /submit asks for, from the contract's schema."""

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from batchgrad.contract import LOSSES, Dataset, JobSpec
from batchgrad.contract.model import MOST_LAYERS
from batchgrad.parsing.documents import parse_yaml
from batchgrad.parsing.spec_files import parse_job
from batchgrad_service.web.rendering import rendered
from batchgrad_service.web.spec_editor import schema
from batchgrad_service.web.spec_editor.completion import complete
from batchgrad_service.web.spec_editor.fields import Field, of_spec
from batchgrad_service.web.spec_editor.form import sections
from batchgrad_service.web.spec_editor.starts import TITLES, start
from batchgrad_service.web.spec_editor.writing import written
from tests.service.building import push
from tests.service.conftest import Bench
from tests.service.test_submit_page import SPEC


def ask(http: TestClient, what: str, **fields: str) -> dict[str, Any]:
    answer = http.post(f"/submit/{what}", data=fields)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def every(fields: Any) -> Iterator[Field]:
    for field in fields:
        yield field
        yield from every(field.parts)


def test_every_key_of_the_contract_has_a_field() -> None:
    fields = [field for section in sections({}, []) for field in section.fields]
    assert {field.key for field in fields} == set(JobSpec.model_fields)
    for key, kinds in (("layers", "model"), ("optimizer", "optimizer")):
        [field] = [one for one in every(fields) if one.key == key]
        found = schema.root()["properties"][kinds]
        union = schema.properties(found, None).get(key, found)
        known = [*schema.kinds(union), *schema.kinds(schema.items(union) or {})]
        assert [choice.value for choice in field.choices] == known
        assert len(known) >= 3


def test_a_kind_that_the_contract_gets_has_its_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    made = JobSpec.model_json_schema()
    made["$defs"]["Maxout"] = {
        "description": "The largest of some pieces.",
        "properties": {
            "kind": {"const": "maxout", "type": "string"},
            "pieces": {"type": "integer", "minimum": 2, "description": "how many"},
        },
        "required": ["kind", "pieces"],
    }
    layers = made["$defs"]["JobModel"]["properties"]["layers"]["items"]
    layers["oneOf"].append({"$ref": "#/$defs/Maxout"})
    monkeypatch.setattr(schema, "root", lambda: made)
    fields = of_spec({"model": {"layers": [{"kind": "maxout"}]}})
    [pieces] = [one for one in every(fields.values()) if one.key == "pieces"]
    assert (pieces.control, pieces.bounds["min"], pieces.help) == ("number", 2, "how many; from 2")
    assert fields["model"].parts[0].choices[-1].value == "maxout"
    [option] = complete("model: {layers: [maxo", "]}").options
    assert option.insert == "{kind: maxout, pieces: 2}"


def test_each_kind_starts_with_what_it_needs() -> None:
    spec = parse_yaml(SPEC)
    layers = schema.properties(schema.root()["properties"]["model"], None)["layers"]
    for kind in schema.kinds(schema.items(layers) or {}):
        made = schema.first(schema.items(layers) or {}, 0, kind)
        parse_job(written({**spec, "model": {"layers": [made]}}))
    for key in ("privacy", "validation"):
        parse_job(written({**spec, key: schema.first(schema.root()["properties"][key], key)}))


@pytest.mark.parametrize(
    ("text", "typed", "first"),
    [
        ("see|", 3, "seed: "),
        ("loss: sof|", 3, "softmax_cross_entropy"),
        ("optimizer: {kind: sgd, mo|}", 2, "momentum: "),
        ("optimizer: {kind: sgd, mo|: 0.9}", 2, "momentum"),
        ("optimizer:\n  kind: a|", 1, "adam"),
        ("optimizer: |", 0, "{kind: sgd, learning_rate: 0.01}"),
        ("model:\n  layers:\n    - re|\nloss: huber\n", 2, "{kind: relu}"),
        ("model: {layers: [{kind: conv2d, ker|", 3, "kernel_size: "),
        ("dataset: d|\n", 1, "digits"),
        ("shortcuts: [mean_e|", 6, "mean_example"),
        ("standardize: |", 0, "true"),
        ("# a comment see|", 3, None),
        ("nothing: see|", 3, None),
        ('name: "see|', 3, None),
    ],
)
def test_what_may_stand_at_the_cursor_is_listed(text: str, typed: int, first: str | None) -> None:
    before, after = text.split("|")
    found = complete(before, after, [("digits", "")])
    assert found.typed == typed
    assert (found.options[0].insert if found.options else None) == first


def test_keys_that_are_there_are_not_listed_and_words_say_what_they_mean() -> None:
    listed = [one.name for one in complete(SPEC, "").options]
    assert "seed" in listed
    assert not {"name", "steps"} & set(listed)
    assert {one.name: one.meaning for one in complete("loss: ", "").options} == {
        name: loss.formula for name, loss in LOSSES.items()
    }


def test_a_draft_is_the_changed_text_its_form_and_its_errors(bench: Bench) -> None:
    push(bench.http)
    answer = ask(
        bench.http, "draft", spec=SPEC, action="set", pointer="/optimizer/learning_rate", value="-1"
    )
    assert answer["text"] == SPEC.replace("0.1", "-1")
    [error] = answer["errors"]
    assert (error["line"], error["pointer"]) == (5, "/optimizer/learning_rate")
    assert 'value="-1"' in answer["form"]
    refused = ask(bench.http, "draft", spec=SPEC, action="set", pointer="/workers", value="[1,")
    assert refused["text"] == SPEC
    assert refused["errors"][0]["pointer"] == "/workers"
    assert ask(bench.http, "draft", spec="steps: [3")["form"] is None
    assert ask(bench.http, "draft", spec="#" * 100_001)["form"] is None
    surrogate = ask(bench.http, "draft", spec='name: "\\ud800"')
    assert 'value="?"' in surrogate["form"]


@pytest.mark.parametrize(
    "key", ["{}", "optimizer: {{kind: {}}}", "model: {{layers: [{}]}}", "{}: 1"]
)
@pytest.mark.parametrize(
    "value",
    [
        '"\\ud800"',
        '["\\ud800"]',
        '{kind: "\\ud800"}',
        "0x" + "f" * 5000,
        "9" * 4300,
        "-" + "9" * 4301,
        ".nan",
        "[[{kind: []}]]",
        "{1: 2, kind: null}",
    ],
)
def test_any_value_of_any_key_has_a_form_or_an_error(bench: Bench, key: str, value: str) -> None:
    keys = [key] if ":" in key else [f"{name}: {{}}" for name in JobSpec.model_fields]
    for one in keys:
        answer = ask(bench.http, "draft", spec=one.format(value))
        assert answer["errors"]
        ask(bench.http, "completions", before=one.format(value) + "\n", after="")


@pytest.mark.parametrize("action", ["set", "add", "kind", "word", "model"])
@pytest.mark.parametrize("value", ["[0x" + "f" * 5000 + "]", '["\\ud800"]', "none", "!!set {a}"])
def test_any_action_changes_a_field_or_has_an_error(bench: Bench, action: str, value: str) -> None:
    for pointer in ("/name", "/workers", "/shortcuts", "/model/layers", "/optimizer", "/loss"):
        answer = ask(bench.http, "draft", spec=SPEC, action=action, pointer=pointer, value=value)
        assert answer["text"] != SPEC or answer["errors"]


@pytest.mark.parametrize(
    "layers",
    [
        "[" + ("{kind: residual, layers: [" + "{}, " * 50 + "]}, ") * 50 + "]",
        "[&x {kind: residual, layers: [{}, {}, {}, {}]}" + ", *x" * 99 + "]",
        "[" + "{}, " * 5000 + "]",
    ],
)
def test_a_form_has_a_limit_of_items_over_all_lists(layers: str) -> None:
    value = parse_yaml(f"model: {{layers: {layers}}}")
    fields = list(every(of_spec(value).values()))
    items = [one for one in fields if one.key.isdecimal()]
    assert len(items) == MOST_LAYERS
    shown = rendered("submit_form.html", sections=sections(value, []))
    [found] = [one for one in fields if one.pointer == "/model/layers"]
    assert found.more
    assert found.more in shown
    assert len(shown) < 2_000_000
    whole = of_spec(parse_yaml("model: {layers: [" + "{}, " * MOST_LAYERS + "]}"))
    assert not any(one.more for one in every(whole.values()))


@pytest.mark.parametrize("end", ["!", "\n"])
def test_the_word_at_the_cursor_is_found_in_linear_time(end: str) -> None:
    text = "a" * 99_000 + end
    begin = time.process_time()
    complete(text, text)
    assert time.process_time() - begin < 5  # 0.1; as a square of the length 20


def test_a_plan_is_that_of_the_text_or_its_errors(bench: Bench) -> None:
    push(bench.http)
    answer = ask(bench.http, "plan", spec=SPEC)
    assert answer["errors"] == []
    assert re.search(r'data-figure="parameters">8<', answer["plan"])
    missing = ask(bench.http, "plan", spec=SPEC.replace("digits", "none"))
    assert missing["plan"] is None
    assert [(one["line"], one["pointer"]) for one in missing["errors"]] == [(2, "/dataset")]
    options = ask(bench.http, "completions", before="dataset: ", after="")["options"]
    assert [one["insert"] for one in options] == ["digits"]
    assert bench.http.get("/v1/jobs").json()["data"] == []


@pytest.mark.parametrize("dataset", ["2024", "null", "1e3", "0x1f", "true", "plain-1"])
@pytest.mark.parametrize("name", TITLES)
def test_specs_to_start_from_name_any_dataset(bench: Bench, name: str, dataset: str) -> None:
    known = Dataset.model_validate(push(bench.http, dataset)).model_copy(update={"table": ()})
    assert parse_job(start(name, [known])).dataset == dataset


@pytest.mark.parametrize("name", [*TITLES, "unknown"])
def test_specs_to_start_from_are_right_where_there_is_no_dataset(name: str) -> None:
    assert parse_job(start(name, [])).name
