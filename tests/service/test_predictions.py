"""Predictions over HTTP: of files, rows and arrays, in every format."""

import csv
import io
import json
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.special import softmax

from batchgrad.contract import Job, Predictions
from batchgrad_engine.checkpoints.checkpoints import read
from batchgrad_service.routes.data.predictions import SMALL_BYTES
from tests.service.building import npz, problem
from tests.service.conftest import Bench
from tests.service.people import evaluated, people_job, predicted, rows_of, table
from tests.service.reading.files import picture, zipped
from tests.service.trained import operated, push, train, uploaded

ROW = '{"age": %s, "color": "%s", "since": "2024-03-05"}'


@pytest.fixture
def trained(bench: Bench) -> tuple[Bench, Job]:
    return bench, people_job(bench)


def test_a_file_s_predictions_have_ids_classes_and_probabilities(
    trained: tuple[Bench, Job],
) -> None:
    bench, job = trained
    found = rows_of(predicted(bench, job, table(50, 1, target=False)))

    assert list(found[0]) == [
        *("who", "prediction", "probability_high", "probability_low", "probability_middle")
    ]
    assert [row["who"] for row in found] == [f"p{row}" for row in range(50)]
    for row in found:
        parts = {name: float(row[f"probability_{name}"]) for name in ("high", "low", "middle")}
        assert sum(parts.values()) == pytest.approx(1)
        assert row["prediction"] == max(parts, key=lambda name: parts[name])
    assert len({row["prediction"] for row in found}) == 3


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "npz"])
def test_every_format_has_the_same_predictions(trained: tuple[Bench, Job], kind: str) -> None:
    bench, job = trained
    expected = rows_of(predicted(bench, job, table(20, 1)))

    content = predicted(bench, job, table(20, 1), format=kind)

    columns: dict[str, Any]
    if kind == "jsonl":
        rows = [json.loads(line) for line in content.splitlines()]
        columns = {name: [row[name] for row in rows] for name in rows[0]}
    elif kind == "parquet":
        columns = pq.read_table(io.BytesIO(content)).to_pydict()
    else:
        with np.load(io.BytesIO(content)) as arrays:
            columns = {name: arrays[name].tolist() for name in arrays}
    assert list(columns) == list(expected[0])
    assert columns["prediction"] == [row["prediction"] for row in expected]
    high = [float(row["probability_high"]) for row in expected]
    assert columns["probability_high"] == pytest.approx(high, rel=1e-12)


def test_a_few_rows_are_answered_at_once_with_the_same_numbers(trained: tuple[Bench, Job]) -> None:
    bench, job = trained
    rows = list(csv.DictReader(io.StringIO(table(9, 1, target=False))))
    expected = rows_of(predicted(bench, job, table(9, 1, target=False)))
    given = [
        {**row, "age": float(row["age"]) if row["age"] else None, "nothing": 1} for row in rows
    ]

    answer = bench.http.post(f"/v1/jobs/{job.id}/predictions", json={"rows": given})

    assert answer.status_code == 200, answer.text
    found = Predictions.model_validate(answer.json())
    assert found.prediction == [row["prediction"] for row in expected]
    assert found.classes == ["high", "low", "middle"]
    assert found.ids == [row["who"] for row in expected]
    assert found.probabilities is not None
    assert found.probabilities[4] == pytest.approx(
        [float(expected[4][f"probability_{name}"]) for name in found.classes], rel=1e-12
    )
    assert any("nothing" in warning for warning in found.warnings)


def test_unknown_texts_and_unexpected_gaps_are_told(
    trained: tuple[Bench, Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, job = trained
    monkeypatch.setattr("batchgrad_service.reading.values.pieces._PIECE_NUMBERS", 4)  # one row
    rows = [{"who": "a", "age": 40, "color": "mauve", "since": None}] * 2

    answer = bench.http.post(f"/v1/jobs/{job.id}/predictions", json={"rows": rows}).json()

    assert any("color has 2 values that no training row had" in one for one in answer["warnings"])
    assert any("since has 2 gaps" in one for one in answer["warnings"])


def test_pictures_have_their_names_and_the_job_s_classes(bench: Bench) -> None:
    colors = {color: picture(color=color) for color in ("blue", "lime", "red")}
    learned = {f"{color}/{n}.png": x for color, x in colors.items() for n in range(8)}
    push(bench, "pictures", zipped(learned))
    layers = [{"kind": "flatten"}, {"kind": "linear", "out_features": 3}]
    job = train(bench, "pictures", 3, model={"layers": layers})

    content = zipped({"x/b.png": colors["blue"], "x/r.png": colors["red"]})
    file = {"upload": uploaded(bench, content)}
    done = operated(bench, f"/v1/jobs/{job.id}/predictions", file=file)
    found = rows_of(bench.http.get(f"/v1/operations/{done.id}/result").content)
    shown = [(row["id"], row["prediction"]) for row in found]
    assert shown == [("x/b.png", "blue"), ("x/r.png", "red")]

    two = {"lime/1.png": colors["lime"], "red/1.png": colors["red"]}
    assert evaluated(bench, job, file={"upload": uploaded(bench, zipped(two))}).accuracy == 1
    two = {"lime/1.png": colors["lime"], "teal/1.png": colors["red"]}
    file = {"upload": uploaded(bench, zipped(two))}
    done = operated(bench, f"/v1/jobs/{job.id}/evaluations", file=file)
    assert done.problem is not None
    assert "The class 'teal' is none of the job's: blue, lime, red" in done.problem.detail


def test_the_best_parameters_and_the_last_ones_on_request(bench: Bench) -> None:
    random = np.random.default_rng(0)
    inputs, targets = random.normal(size=(24, 30)), random.integers(0, 2, 24)  # to overfit
    assert bench.http.put("/v1/datasets/d", content=npz(inputs=inputs, targets=targets)).is_success
    changes = {"standardize": False, "precision": "float64", "validation_fraction": 0.5}
    job = train(bench, "d", 2, optimizer={"kind": "adam", "learning_rate": 0.3}, **changes)
    [stored, *_] = bench.store.checkpoints(job.id)
    snapshot = read(bench.app.state.services.job_directory(job.id) / stored.file)
    assert snapshot.best is not None
    assert snapshot.best.evaluation.step < snapshot.step

    for which, step, digest, parameters in (
        ("last", snapshot.step, job.last_parameters_digest, snapshot.parameters),
        (None, snapshot.best.evaluation.step, job.parameters_digest, snapshot.best.parameters),
    ):
        body = {"inputs": inputs.tolist(), **({"which": which} if which else {})}
        answer = bench.http.post(f"/v1/jobs/{job.id}/predictions", json=body).json()
        assert (answer["parameters_digest"], answer["parameters_step"]) == (digest, step)
        expected = softmax(inputs @ parameters["0.weight"].T + parameters["0.bias"], axis=1)
        assert np.array(answer["probabilities"]) == pytest.approx(expected)


def test_inputs_give_the_network_s_own_outputs(bench: Bench) -> None:
    random = np.random.default_rng(1)
    inputs = random.normal(5, 3, size=(40, 4))
    content = npz(inputs=inputs, targets=np.arange(40) % 2)
    assert bench.http.put("/v1/datasets/d", content=content).status_code == 201
    job = train(bench, "d", 2, precision="float64")

    answer = bench.http.post(
        f"/v1/jobs/{job.id}/predictions", json={"inputs": inputs[:6].tolist()}
    ).json()

    [stored, *_] = bench.store.checkpoints(job.id)
    snapshot = read(bench.app.state.services.job_directory(job.id) / stored.file)
    standardized = (inputs[:6] - inputs.mean(0)) / inputs.std(0)
    weight, bias = snapshot.parameters["0.weight"], snapshot.parameters["0.bias"]
    expected = softmax(standardized @ weight.T + bias, axis=1)
    assert np.array(answer["probabilities"]) == pytest.approx(expected)
    assert answer["prediction"] == expected.argmax(1).tolist()
    assert answer["classes"] == ["0", "1"]


def test_one_sigmoid_output_is_a_class_if_classes_have_names(bench: Bench) -> None:
    random = np.random.default_rng(2)
    numbers = random.normal(size=40)
    lines = [f"{x},{'yes' if x > 0 else 'no'}" for x in numbers.tolist()]
    push(bench, "named", "\n".join(["a,y", *lines]).encode(), table={"target": "y"},
         file={"name": "a.csv"})  # fmt: skip
    arrays = npz(inputs=numbers[:, None], targets=(numbers > 0).astype("f4"))
    assert bench.http.put("/v1/datasets/arrays", content=arrays).is_success
    loss = {"loss": "sigmoid_cross_entropy", "epochs": 1}
    named, plain = (train(bench, name, 1, **loss) for name in ("named", "arrays"))

    rows = {"rows": [{"a": x} for x in numbers.tolist()]}
    answer = bench.http.post(f"/v1/jobs/{named.id}/predictions", json=rows).json()
    probabilities = np.array(answer["probabilities"])
    assert answer["classes"] == ["no", "yes"]
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(40))
    assert 0 < (probabilities[:, 1] > 0.5).sum() < 40
    assert ((probabilities[:, 1] > 0.5) & (probabilities[:, 1] < 0.6)).any()
    expected = [answer["classes"][number] for number in probabilities.argmax(axis=1)]
    assert answer["prediction"] == expected

    one_class = b"a,y\n1,yes\n-1,yes\n2,yes"
    file = {"upload": uploaded(bench, one_class), "name": "b.csv"}
    found = operated(bench, f"/v1/jobs/{named.id}/evaluations", file=file).evaluation
    assert found is not None
    assert (found.examples, found.auc) == (3, None)
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.balanced_accuracy == found.accuracy

    inputs = {"inputs": numbers[:, None].tolist()}
    answer = bench.http.post(f"/v1/jobs/{plain.id}/predictions", json=inputs).json()
    assert (answer["probabilities"], answer["classes"]) == (None, None)
    assert answer["prediction"] == pytest.approx(probabilities[:, 1])


def test_several_numbers_are_columns_named_as_their_targets(bench: Bench) -> None:
    text = b"a,height,width\n" + b"".join(f"{n},{n / 2},{-n}.5\n".encode() for n in range(20))
    push(bench, "d", text, file={"name": "a.csv"}, table={"target": ["height", "width"]})
    job = train(bench, "d", 2, loss="squared_error")
    [first, *_] = rows_of(predicted(bench, job, "a\n1\n2\n"))
    assert list(first) == ["prediction_height", "prediction_width"]


def test_wrong_numbers_of_an_array_are_named_with_their_example(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = npz(inputs=np.arange(12).reshape(4, 3) % 5, targets=np.arange(4) % 2)
    numbers = npz(inputs=np.ones((4, 3)), targets=np.arange(4) % 2)
    for name, content in (("ids", ids), ("numbers", numbers)):
        assert bench.http.put(f"/v1/datasets/{name}", content=content).is_success
    embedding = {"kind": "embedding", "num_embeddings": 5, "embedding_dim": 1}
    last = {"kind": "linear", "out_features": 2}
    model = {"layers": [embedding, {"kind": "flatten"}, last]}
    job = train(bench, "ids", 2, model=model, standardize=False)
    answer = bench.http.post(f"/v1/jobs/{job.id}/predictions", json={"inputs": [[0, 1, 5]]})
    assert "5" in problem(answer, 422)["errors"][0]["detail"]

    monkeypatch.setattr("batchgrad_service.predicting.arrays.BATCH_NUMBERS", 6)  # 2 examples
    wrong = np.ones((4, 3))
    wrong[3, 1] = np.inf
    job = train(bench, "numbers", 2, standardize=False)
    file = {"upload": uploaded(bench, npz(inputs=wrong, targets=np.zeros(4)))}
    done = operated(bench, f"/v1/jobs/{job.id}/predictions", file=file)
    assert done.problem is not None
    assert "inputs of example 3 are not finite" in done.problem.detail
    assert not list((bench.data_dir / "uploads").glob("*.tmp"))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"rows": []}, "at least one"),
        ({"rows": [{"age": 1}]}, "no column"),
        ({"rows": [{"age": "old", "color": "red", "since": "2024-03-05"}]}, "old"),
        ({"inputs": [[1.0, 2.0]]}, "give rows with its columns"),
        ({"rows": [], "inputs": []}, "exactly one of"),
        ({}, "exactly one of"),
        ({"dataset": "nothing"}, "nothing"),
        ({"rows": [{"age": 1}], "which": "first"}, "which"),
    ],
)
def test_examples_that_do_not_fit_are_refused_with_a_remedy(
    trained: tuple[Bench, Job], body: dict[str, Any], says: str
) -> None:
    bench, job = trained
    answer = bench.http.post(f"/v1/jobs/{job.id}/predictions", json=body)
    assert answer.status_code in {404, 422}, answer.text
    assert says in answer.text


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (ROW % ("1e999", "red"), "Column age is"),
        (ROW % ("1" + "0" * 30, "red"), "more than 64 bits"),
        (ROW % ("1e300", "red"), "example 0 (the first is 0) are not finite"),
        (ROW % ("1", "\\ud800"), "surrogate"),
        (ROW % ("[" * 300 + "]" * 300, "red"), "Column 'age' has an array"),
    ],
)
def test_strange_json_is_refused_and_never_taken_for_gaps(
    trained: tuple[Bench, Job], rows: str, says: str
) -> None:
    bench, job = trained
    answer = bench.http.post(
        f"/v1/jobs/{job.id}/predictions",
        content=f'{{"rows": [{rows}]}}',
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code in {400, 422}, answer.text
    assert says in answer.json()["detail"]


def test_a_long_body_has_the_same_answer_and_is_for_rows_alone(
    trained: tuple[Bench, Job],
) -> None:
    bench, job = trained
    path, row = f"/v1/jobs/{job.id}/predictions", json.loads(ROW % (40, "red"))
    one = bench.http.post(path, json={"rows": [row], "which": "last"}).json()
    padding = {"nothing": "x" * SMALL_BYTES}
    long = bench.http.post(path, json={"rows": [row | padding], "which": "last"}).json()
    assert long["prediction"] == one["prediction"]
    assert long["parameters_step"] == one["parameters_step"]
    refused = bench.http.post(path, content=b'{"dataset": "x"}' + b" " * SMALL_BYTES)
    assert refused.status_code == 422
    assert "longer than one for a file" in refused.text


def test_a_job_without_parameters_and_a_dataset_that_is_gone(trained: tuple[Bench, Job]) -> None:
    bench, job = trained
    waiting = bench.http.post(
        "/v1/jobs", json={**job.spec.model_dump(mode="json"), "name": "waiting"}
    ).json()["id"]
    answer = bench.http.post(f"/v1/jobs/{waiting}/predictions", json={"rows": [{}]})
    assert "Wait for its first checkpoint" in problem(answer, 409)["detail"]

    bench.store.transition(waiting, to="cancelled", allowed=["queued"])
    bench.store.transition(job.id, to="succeeded", allowed=["starting"])
    assert bench.http.delete("/v1/datasets/people").status_code == 204
    gone = bench.http.post(f"/v1/jobs/{job.id}/evaluations", json={"set": "validation"})
    assert problem(gone, 409)["code"] == "dataset_gone"
    rows = [{"age": 40, "color": "red", "since": "2024-03-05"}]
    answer = bench.http.post(f"/v1/jobs/{job.id}/predictions", json={"rows": rows})
    assert answer.status_code == 200, "predictions need no dataset"


def test_thousands_of_rows_fit_into_a_request(trained: tuple[Bench, Job]) -> None:
    bench, job = trained
    rows = [{"who": "a", "age": 40.5, "color": "red", "since": "2024-03-05"}] * 3000

    answer = bench.http.post(f"/v1/jobs/{job.id}/predictions", json={"rows": rows})

    assert answer.status_code == 200, answer.text
    assert len(answer.json()["prediction"]) == 3000
