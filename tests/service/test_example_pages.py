"""Predictions in the ledger, the pages of examples and confusion, and the file of suspects."""

import csv
import io
import re
from typing import Any

import numpy as np
import pytest

from batchgrad.contract import Column, Ledger, Predictions
from batchgrad_service.predicting import stored_rows, tasks
from batchgrad_service.predicting.stored_rows import StoredPredictions
from batchgrad_service.store.records import to_cursor
from batchgrad_service.web.ledger import cards
from batchgrad_service.web.ledger.confusion import confusion
from tests.service.building import npz, problem, started
from tests.service.conftest import Bench
from tests.service.people import evaluated, people_job
from tests.service.test_private_pages import PRIVACY
from tests.service.trained import operated, push, train

FORMULA = "=cmd|' /C calc'!A0"


def ledger(bench: Bench, job_id: str, **query: Any) -> Ledger:
    answer = bench.http.get(f"/v1/jobs/{job_id}/examples", params=query)
    assert answer.status_code == 200, answer.text
    return Ledger.model_validate(answer.json())


def page(bench: Bench, path: str) -> str:
    answer = bench.http.get(path)
    assert answer.status_code == 200, answer.text
    return answer.text


def lines(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture
def people(bench: Bench) -> str:
    return people_job(bench).id


def test_the_ledger_s_predictions_are_those_of_an_evaluation(bench: Bench, people: str) -> None:
    found = ledger(bench, people, predictions=True, limit=1000)
    figures = evaluated(bench, bench.store.job(people), set="training")
    assert found.parameters_step == figures.parameters_step
    right = [entry.prediction == entry.class_name for entry in found.data]
    assert 0 < sum(right) < len(right) == figures.examples
    assert np.mean(right) == figures.accuracy
    assert all(1 / 3 < (entry.probability or 0) <= 1 for entry in found.data)
    plain = ledger(bench, people, limit=1000)
    assert {entry.prediction for entry in plain.data} == {None} == {plain.parameters_step}


def test_suspicion_is_the_place_by_mean_loss_in_any_order(bench: Bench, people: str) -> None:
    whole = ledger(bench, people, order="mean_loss", limit=1000).data
    assert [entry.suspicion for entry in whole] == list(range(1, len(whole) + 1))
    places = {entry.example: entry.suspicion for entry in whole}
    beyond = to_cursor(f"mean_loss -inf {10**6}")
    assert ledger(bench, people, order="mean_loss", after=beyond).data == []
    for entry in ledger(bench, people, order="example", limit=20).data:
        assert entry.suspicion == places[entry.example]


def test_cards_have_the_columns_of_a_table_s_rows(bench: Bench, people: str) -> None:
    first = page(bench, f"/jobs/{people}/examples")
    assert first.count('<li class="card"') == 50
    assert re.search(r"<dt>age</dt><dd>[\d.]+</dd>", first)
    assert re.search(r"<dt>color</dt><dd>(red|green|blue)</dd>", first)
    assert re.search(r"<dt>since</dt><dd>2024-03-\d\d</dd>", first)
    assert "<b>high</b>" in first
    assert not re.search(r'class="prediction[^"]*"><b>', first)
    assert re.search(
        r'class="prediction[^"]*">.*<b>(high|low|middle)</b>',
        page(bench, f"/jobs/{people}/examples?predictions=true"),
    )
    table = page(bench, f"/jobs/{people}/examples?view=table")
    assert table.count("<tr data-example=") == 50


@pytest.mark.parametrize("rows", ["training", "validation"])
def test_confusion_is_that_of_an_evaluation(bench: Bench, people: str, rows: Any) -> None:
    text = page(bench, f"/jobs/{people}/confusion?set={rows}")
    body = text.partition("<tbody>")[2].partition("</tbody>")[0]
    numbers = [
        [int(count) for count in re.findall(r">(\d+)</(?:a|span)>", row)]
        for row in body.split("</tr>")[:-1]
    ]
    figures = evaluated(bench, bench.store.job(people), set=rows)
    assert numbers == figures.confusion
    assert f"<b>{figures.examples}</b>" in text
    cell = page(bench, f"/jobs/{people}/confusion?set={rows}&label=0&predicted=0")
    assert cell.count('<li class="card"') == min(50, numbers[0][0])
    assert "card" not in page(bench, f"/jobs/{people}/confusion?label=0&predicted=7")


def test_a_sample_says_how_much_it_is(
    bench: Bench, people: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchgrad_service.predicting.arrays.SAMPLED", tasks.SAMPLED // 100)
    assert "<b>100</b> of 160 training" in page(bench, f"/jobs/{people}/confusion?set=training")
    monkeypatch.setattr(stored_rows, "SECONDS", 0.0)
    monkeypatch.setattr(stored_rows, "ROWS_AT_ONCE", 30)
    assert "<b>30</b> of 160 training" in page(bench, f"/jobs/{people}/confusion?set=training")
    entries = ledger(bench, people, predictions=True, limit=40).data
    assert [entry.prediction is None for entry in entries] == [False] * 30 + [True] * 10


def test_suspects_are_safe_for_a_spreadsheet(bench: Bench) -> None:
    ids = [f'"{FORMULA} {n}",{n / 10},{"@a" if n % 2 else "b"}' for n in range(19)]
    table = "\n".join(["who,x,label", *ids, "-5,3,b"]).encode()
    options = {"target": "label", "id": "who"}
    done = push(bench, "evil", table, file={"name": "evil.csv"}, table=options)
    assert done.status == "succeeded", done.problem
    job_id = train(bench, "evil", 2).id

    found = bench.http.get(f"/jobs/{job_id}/suspects.csv?limit=20")

    assert found.headers["content-disposition"].startswith("attachment;")
    cells = lines(found.text)
    entries = ledger(bench, job_id, order="mean_loss", predictions=True).data
    assert len(cells) == 20
    for line, entry in zip(cells, entries, strict=True):
        assert line["id"] == ("-5" if entry.id == "-5" else f"'{entry.id}")
        assert line["label"] == ("'@a" if entry.class_name == "@a" else "b")
        assert line["prediction"] == ("'@a" if entry.prediction == "@a" else "b")
        assert float(line["mean_loss"]) == entry.mean_loss
        assert float(line["probability"]) == entry.probability
    done = operated(bench, f"/v1/jobs/{job_id}/predictions", dataset="evil")
    predicted = lines(bench.http.get(f"/v1/operations/{done.id}/result").text)
    assert {line["prediction"] for line in predicted} == {"'@a", "b"}
    assert list(predicted[0])[2:] == ["probability_@a", "probability_b"]
    for line in [*cells, *predicted]:
        assert not [cell for cell in line.values() if cell[:1] in {"=", "@", "+"}]


def test_numbers_stand_beside_predicted_numbers(bench: Bench) -> None:
    inputs = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    arrays = npz(inputs=inputs, targets=inputs[:, 0] * 2 + 1)
    assert bench.http.put("/v1/datasets/line", content=arrays).status_code == 201
    job_id = train(bench, "line", 1, loss="squared_error").id
    entry = ledger(bench, job_id, predictions=True, limit=1).data[0]
    answer = bench.http.post(
        f"/v1/jobs/{job_id}/predictions", json={"inputs": [inputs[entry.example].tolist()]}
    )
    assert entry.prediction == Predictions.model_validate(answer.json()).prediction[0]
    assert entry.target == pytest.approx(float(inputs[entry.example, 0]) * 2 + 1)
    assert entry.probability is None
    text = page(bench, f"/jobs/{job_id}/examples?predictions=true&order=mean_norm")
    assert f"<b>{entry.target:.4g}</b>" in text
    assert f"<b>{entry.prediction:.4g}</b>" in text
    assert "predicts numbers, not classes" in page(bench, f"/jobs/{job_id}/confusion")


def test_why_there_are_no_predictions_is_told(bench: Bench) -> None:
    private = started(bench.store, privacy=PRIVACY)[0]
    for path in ("examples?predictions=true", "confusion", "confusion?label=0&predicted=0"):
        text = page(bench, f"/jobs/{private}/{path}")
        assert "The job is private" in text
        assert "card" not in text
    assert bench.http.get(f"/jobs/{private}/suspects.csv").status_code == 409
    query = {"predictions": True}
    refused = bench.http.get(f"/v1/jobs/{private}/examples", params=query)
    assert problem(refused, 409)["code"] == "private_job"
    early = started(bench.store)[0]
    assert "has no parameters. Wait for its first checkpoint." in page(
        bench, f"/jobs/{early}/confusion"
    )
    people = people_job(bench).id
    bench.supervisor.cancel(people)
    assert bench.http.delete("/v1/datasets/people").status_code == 204
    text = page(bench, f"/jobs/{people}/examples?predictions=true")
    assert "No predictions: " in text
    assert text.count('<li class="card"') == 50
    assert lines(bench.http.get(f"/jobs/{people}/suspects.csv").text)[0]["prediction"] == ""


def test_a_large_confusion_is_a_list_and_the_unknown_are_counted() -> None:
    classes = [str(n) for n in range(50)]
    found = stored_rows.StoredPredictions(
        rows=list(range(5)),
        of=5,
        prediction=[1, 1, 2, None, 0],
        probability=[1.0] * 5,
        target=[1, 2, 2, 3, 3],
        classes=classes,
        named=False,
        step=1,
        which="last",
    )
    counted = confusion(found)
    assert counted is not None
    assert (counted.large, counted.count, counted.right, counted.unknown) == (True, 4, 2, 1)
    assert [(x.label, x.predicted, x.count) for x in counted.pairs] == [(2, 1, 1), (3, 0, 1)]
    assert confusion(found.model_copy(update={"target": [None] * 5})) is None


def test_many_classes_have_their_errors_alone() -> None:
    labels, predicted = [4, 4, 4, 9_999, 9_999, 2], [4, 7, 7, 0, None, 2]
    found = confusion(
        StoredPredictions(
            rows=list(range(6)),
            of=6,
            prediction=predicted,
            target=labels,
            classes=[str(one) for one in range(10_000)],
            named=False,
            step=1,
            which="last",
        )
    )
    assert found is not None
    assert found.large
    assert found.rows == []
    assert [(one.label, one.predicted, one.count) for one in found.pairs] == [
        (4, 7, 2),
        (9_999, 0, 1),
    ]
    assert (found.count, found.right, found.unknown) == (5, 2, 1)


@pytest.mark.parametrize(
    ("days", "text"),
    [
        (0.0, "1970-01-01"),
        (1.5, "1970-01-02 12:00"),
        (4e6, "4 × 10⁶ days after 1970-01-01"),
        (-8e5, "−800,000 days after 1970-01-01"),
    ],
)
def test_any_stored_date_is_shown(days: float, text: str) -> None:
    assert (
        cards.value_text(Column(name="since", role="input", kind="date", missing=0), days) == text
    )
