"""Evaluations over HTTP, against scikit-learn and the job's own figures."""

import csv
import io
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from batchgrad.contract import Job
from tests.service.building import npz
from tests.service.conftest import Bench
from tests.service.people import evaluated, people_job, predicted, rows_of, table
from tests.service.trained import operated, push, train, uploaded


@pytest.fixture
def trained(bench: Bench) -> tuple[Bench, Job]:
    return bench, people_job(bench)


def test_figures_of_classes_are_scikit_learn_s(trained: tuple[Bench, Job]) -> None:
    bench, job = trained
    text = table(120, 2)
    rows = rows_of(predicted(bench, job, text))
    truth = [row["label"] for row in csv.DictReader(io.StringIO(text))]
    names = ["high", "low", "middle"]
    probabilities = np.array(
        [[float(row[f"probability_{name}"]) for name in names] for row in rows]
    )
    labels = [row["prediction"] for row in rows]

    file = {"upload": uploaded(bench, text.encode()), "name": "test.csv"}
    found = evaluated(bench, job, file=file)

    assert found.examples == 120
    assert found.loss == pytest.approx(metrics.log_loss(truth, probabilities), rel=1e-5)
    assert found.accuracy == pytest.approx(metrics.accuracy_score(truth, labels))
    assert found.balanced_accuracy == pytest.approx(metrics.balanced_accuracy_score(truth, labels))
    assert found.auc == pytest.approx(
        metrics.roc_auc_score(truth, probabilities, multi_class="ovr"), rel=1e-9
    )
    assert found.confusion == metrics.confusion_matrix(truth, labels).tolist()
    assert found.classes == names
    assert found.parameters_digest == job.parameters_digest


def test_the_validation_rows_have_the_job_s_own_figures(trained: tuple[Bench, Job]) -> None:
    bench, job = trained

    found = evaluated(bench, job, set="validation")

    assert job.best is not None
    assert found.loss == pytest.approx(job.best.validation_loss, rel=1e-6)
    assert found.accuracy == job.best.validation_accuracy
    assert found.examples == 40
    assert evaluated(bench, job, set="training").examples == 160
    assert evaluated(bench, job, dataset="people").examples == 200


def test_another_dataset_with_other_orders_is_evaluated_by_its_names(
    trained: tuple[Bench, Job],
) -> None:
    bench, job = trained
    text = table(60, 5)
    lines = [line.split(",") for line in text.splitlines()]
    reordered = "\n".join(",".join(reversed(line)) for line in lines if "blue" not in line)
    done = push(
        bench,
        "other",
        reordered.encode(),
        file={"name": "other.csv"},
        table={"target": "label", "missing": "mean", "drop": ["who"]},
    )
    assert done.status == "succeeded", done.problem
    kept = "\n".join(",".join(line) for line in lines if "blue" not in line)
    file = {"upload": uploaded(bench, kept.encode()), "name": "kept.csv"}

    by_file = evaluated(bench, job, file=file)

    assert evaluated(bench, job, dataset="other") == by_file


def test_classes_of_another_dataset_are_the_job_s_by_their_names(
    trained: tuple[Bench, Job],
) -> None:
    bench, job = trained
    options = {"target": "label", "missing": "mean", "id": "who"}
    head, *lines = table(60, 6).splitlines()
    middle = [line for line in lines if line.endswith("middle")]  # number 2 for the job, here 0
    content = "\n".join([head, *middle]).encode()
    push(bench, "middle", content, file={"name": "a.csv"}, table=options)
    by_file = evaluated(bench, job, file={"upload": uploaded(bench, content), "name": "a.csv"})
    assert by_file.accuracy is not None
    assert by_file.accuracy > 0
    assert evaluated(bench, job, dataset="middle") == by_file

    content = "\n".join([head, *lines]).replace("middle", "huge").encode()
    push(bench, "huge", content, file={"name": "a.csv"}, table=options)
    done = operated(bench, f"/v1/jobs/{job.id}/evaluations", dataset="huge")
    assert done.problem is not None
    assert "The class 'huge' is none of the job's: high, low, middle" in done.problem.detail
    assert operated(bench, f"/v1/jobs/{job.id}/predictions", dataset="huge").status == "succeeded"


def test_numbers_have_r2_rmse_and_weights_count(bench: Bench) -> None:
    random = np.random.default_rng(0)
    inputs = random.normal(size=(80, 3))
    targets = inputs @ [3.0, 1.0, 0.0] + 10
    weights = random.uniform(0, 2, 80)
    weights[:5] = 0
    content = npz(inputs=inputs, targets=targets, weights=weights)
    assert bench.http.put("/v1/datasets/d", content=content).status_code == 201
    job = train(bench, "d", 1, loss="squared_error", precision="float64")

    answer = bench.http.post(f"/v1/jobs/{job.id}/predictions", json={"inputs": inputs.tolist()})
    found = evaluated(bench, job, dataset="d")

    prediction = answer.json()["prediction"]
    assert found.examples == 75
    assert found.r2 == pytest.approx(metrics.r2_score(targets, prediction, sample_weight=weights))
    squared = metrics.mean_squared_error(targets, prediction, sample_weight=weights)
    assert found.loss == pytest.approx(squared)
    assert found.rmse == pytest.approx(squared**0.5)
    assert found.mae == pytest.approx(
        metrics.mean_absolute_error(targets, prediction, sample_weight=weights)
    )
    assert found.accuracy is None
    assert evaluated(bench, job, file={"upload": uploaded(bench, content)}) == found


def test_the_validation_rows_may_be_another_dataset(bench: Bench) -> None:
    random = np.random.default_rng(3)
    for name, rows in (("d", 30), ("other", 20)):
        inputs = random.normal(size=(rows, 3))
        content = npz(inputs=inputs, targets=(inputs[:, 0] > 0).astype(int))
        assert bench.http.put(f"/v1/datasets/{name}", content=content).is_success
    job = train(bench, "d", 2, validation={"dataset": "other"})
    assert job.best is not None
    found = evaluated(bench, job, set="validation")
    assert found.examples == 20
    assert found.loss == pytest.approx(job.best.validation_loss, rel=1e-6)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"set": "test"}, "validation: {rows: COLUMN}"),
        ({"file": b"a,b\n1,2\n"}, "has no column"),
        ({"file": b"who,age,color,since,label\np,1,red,2024-03-01,huge\n"}, "huge"),
    ],
)
def test_evaluations_that_cannot_be_are_explained(
    trained: tuple[Bench, Job], body: dict[str, Any], says: str
) -> None:
    bench, job = trained
    if "file" in body:
        body = {"file": {"upload": uploaded(bench, body["file"]), "name": "x.csv"}}
    done = operated(bench, f"/v1/jobs/{job.id}/evaluations", **body)
    assert done.status == "failed"
    assert done.problem is not None
    assert says in done.problem.model_dump_json()
