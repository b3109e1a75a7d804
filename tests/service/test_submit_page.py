"""/submit: the form, its errors and its plan."""

import asyncio
import re

import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from batchgrad.parsing.key_lines import KeyLines
from batchgrad_service.web.spec_editor import checking
from tests.service.building import push
from tests.service.conftest import Bench

SPEC = """\
name: first
dataset: digits
model: {layers: [{kind: linear, out_features: 2}]}
loss: softmax_cross_entropy
optimizer: {kind: sgd, learning_rate: 0.1}
batch_size: 10
steps: 3
"""


def post(http: TestClient, spec: str, action: str = "submit", key: str = "k") -> Response:
    fields = {"spec": spec, "action": action, "key": key}
    return http.post("/submit", data=fields, follow_redirects=False)


def errors_of(answer: Response) -> tuple[list[int], str]:
    """Numbers of the marked lines, and the text of the errors."""
    assert answer.status_code == 422, answer.text
    gutter = re.search(r'<ol aria-hidden="true" id="lines">(.*?)</ol>', answer.text, re.DOTALL)
    errors = re.search(r'id="errors">(.*?)</div>', answer.text, re.DOTALL)
    assert gutter
    assert errors
    items = re.findall(r"<li( class=.wrong.)?>", gutter.group(1))
    return [line for line, wrong in enumerate(items, 1) if wrong], errors.group(1)


def test_lines_are_found_outside_the_event_loop(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Watched(KeyLines):
        def __init__(self, *given: str) -> None:
            with pytest.raises(RuntimeError):  # a long text would hold up every other request
                asyncio.get_running_loop()
            super().__init__(*given)

    monkeypatch.setattr(checking, "KeyLines", Watched)
    assert errors_of(post(bench.http, SPEC.replace("steps: 3", "steps: x")))[0] == [7]
    assert errors_of(post(bench.http, SPEC))[0] == [2]  # there is no such dataset


def test_a_job_is_submitted_once(bench: Bench) -> None:
    push(bench.http)
    first = post(bench.http, SPEC)
    assert first.status_code == 303
    job = bench.http.get(f"/v1/{first.headers['location']}").json()
    assert (job["name"], job["steps_planned"]) == ("first", 3)
    assert bench.supervisor.notified == 1
    assert post(bench.http, SPEC).headers["location"] == first.headers["location"]
    assert post(bench.http, SPEC, key="l").headers["location"] != first.headers["location"]


def test_the_initial_spec_of_the_form_works(bench: Bench) -> None:
    push(bench.http)
    page = bench.http.get("/submit").text
    text = re.search(r"<textarea[^>]*>\n(.*?)</textarea>", page, re.DOTALL)
    assert text
    assert "dataset: digits" in text.group(1)
    assert post(bench.http, text.group(1)).status_code == 303


def test_warnings_are_shown_before_and_after_submission(bench: Bench) -> None:
    push(bench.http)
    spec = SPEC.replace("out_features: 2", "out_features: 128")
    message = "The network has 128 outputs, the dataset has 2 classes"
    assert message in post(bench.http, spec, action="check").text
    page = bench.http.get(post(bench.http, spec).headers["location"]).text
    assert page.count(message) == 2  # below the heading, and as an event


def test_checking_shows_the_plan_and_queues_nothing(bench: Bench) -> None:
    push(bench.http)
    answer = post(bench.http, SPEC, action="check")
    assert answer.status_code == 200
    assert re.findall(r'data-figure="(\w+)">([\d,]+)<', answer.text)[:4] == [
        ("parameters", "8"),
        ("steps_planned", "3"),
        ("steps_per_epoch", "1"),
        ("training_examples", "10"),
    ]
    assert bench.http.get("/v1/jobs").json()["data"] == []


@pytest.mark.parametrize(
    ("old", "new", "lines", "expected"),
    [
        ("batch_size: 10", "batch_siz: 10", [6], "did you mean batch_size?"),
        ("learning_rate: 0.1", "learning_rate: -1", [5], "expected more than 0.0"),
        ("dataset: digits", "dataset: none", [2], "There is no dataset"),
        ("out_features: 2", "out_features: 1", [3], "out_features"),
        ("loss: softmax", "loss: [softmax", [5], "is not valid YAML"),
        ("steps: 3", "steps: 2026-02-31", [7], "got &#39;2026-02-31&#39;; expected an integer"),
        ("steps: 3", "steps: *a", [7], "found undefined alias"),
        ("steps: 3", "steps: 3\nsteps: 4", [8], "has the key &#39;steps&#39; twice, at line 7"),
        ("steps: 3", "steps: !!timestamp 3", [7], "which is not part of the core schema"),
        ("steps: 3", f"steps: {'9' * 4301}", [7], "is not an integer"),
        ("steps: 3", "initial_parameters: {file: /etc/hostname}\nsteps: 3", [7], "file"),
        (SPEC, "- a list", [], "expected keys and values"),
        (SPEC, "", [], "expected keys and values"),
        (SPEC, "[" * 49_000, [1], "nested more than 40 levels deep"),
        (SPEC, "#" * 100_001, [], "longer than"),
    ],
)
def test_errors_name_their_line_and_the_text_stays(
    bench: Bench, old: str, new: str, lines: list[int], expected: str
) -> None:
    push(bench.http)
    text = SPEC.replace(old, new)
    assert text != SPEC
    answer = post(bench.http, text)
    marked, message = errors_of(answer)
    assert marked == lines
    assert expected in message
    assert text.rstrip("\n").rsplit("\n", 1)[-1][:50] in answer.text
    assert bench.http.get("/v1/jobs").json()["data"] == []
