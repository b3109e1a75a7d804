"""Jobs that validate on another dataset, and plans of every rule for the split, over HTTP."""

from typing import Any

import numpy as np
import pytest

from batchgrad_service.datasets.sources import Sources
from tests.service.building import npz, problem
from tests.service.conftest import Bench


def put(bench: Bench, name: str, inputs: Any, targets: Any, **more: Any) -> dict[str, Any]:
    content = npz(inputs=inputs, targets=targets, **more)
    answer = bench.http.put(f"/v1/datasets/{name}", content=content)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def spec(**changes: Any) -> dict[str, Any]:
    return {
        "name": "j",
        "dataset": "training",
        "model": {"layers": [{"kind": "linear", "out_features": 2}]},
        "loss": "softmax_cross_entropy",
        "optimizer": {"kind": "sgd", "learning_rate": 0.1},
        "batch_size": 10,
        "epochs": 2,
        **changes,
    }


@pytest.fixture
def data(bench: Bench) -> Bench:
    random = np.random.default_rng(0)
    put(bench, "training", random.normal(size=(40, 3)), np.arange(40) % 2)
    put(bench, "other", random.normal(size=(12, 3)), np.arange(12) % 2)
    return bench


def test_the_other_dataset_is_planned_kept_and_sent_to_the_engine(data: Bench) -> None:
    body = spec(validation={"dataset": "other"}, early_stopping={"patience": 2})
    plan = data.http.post("/v1/plans", json=body).json()
    assert (plan["training_examples"], plan["validation_examples"]) == (40, 12)

    job = data.http.post("/v1/jobs", json=body).json()["id"]

    inputs = data.store.job_inputs(job)
    digests = [
        data.http.get(f"/v1/datasets/{name}").json()["digest"] for name in ("training", "other")
    ]
    assert inputs.dataset_digests == digests
    refused = problem(data.http.delete("/v1/datasets/other"), 409)
    assert refused["code"] == "dataset_in_use"
    sources: Sources = data.app.state.services.sources
    source = sources.of(job, digests[1])
    url = f"/v1/jobs/{job}/datasets/{digests[1].removeprefix('sha256:')}/targets.npy"
    answer = data.http.get(url, headers={"Authorization": f"Bearer {source.secret}"})
    assert answer.content == (source.path / "targets.npy").read_bytes()

    data.store.transition(job, to="cancelled", allowed=["queued"])
    assert data.http.delete("/v1/datasets/other").status_code == 204
    assert not source.path.exists()


def test_a_replaced_dataset_stays_while_a_job_validates_on_it(data: Bench) -> None:
    job = data.http.post("/v1/jobs", json=spec(validation={"dataset": "other"})).json()["id"]
    digest = data.store.job_inputs(job).validation_digest
    assert digest is not None
    content = npz(inputs=np.ones((4, 3)), targets=np.arange(4) % 2)

    assert data.http.put("/v1/datasets/other?replace=true", content=content).status_code == 200

    directory = data.app.state.services.datasets.directory(digest)
    assert directory.exists()
    data.store.transition(job, to="cancelled", allowed=["queued"])
    assert data.http.delete(f"/v1/jobs/{job}").status_code == 204
    assert not directory.exists()


@pytest.mark.parametrize(
    ("validation", "pointer", "says"),
    [
        ({"dataset": "nothing"}, "/validation/dataset", "There is no dataset 'nothing'"),
        ({"dataset": "wide"}, "/validation/dataset", "shape [4]"),
        ({"dataset": "classes"}, "/validation/dataset", "class 2"),
        ({"dataset": "numbers"}, "/validation/dataset", "needs integer classes"),
        ({"rows": "set"}, "/validation", "--split COLUMN"),
        ({"fraction": 0.2, "by_unit": True}, "/validation", "--units COLUMN"),
        ({"fraction": 0.2, "by_unit": True, "stratify": True}, "/validation", "only one of them"),
        ({"rows": "set", "stratify": True}, "/validation", "stratify needs fraction"),
        ({}, "/validation", "give exactly one of fraction, dataset, rows"),
    ],
)
def test_a_rule_that_does_not_fit_is_refused(
    data: Bench, validation: dict[str, Any], pointer: str, says: str
) -> None:
    put(data, "wide", np.ones((4, 4)), np.arange(4) % 2)
    put(data, "classes", np.ones((4, 3)), np.arange(4) % 3)
    put(data, "numbers", np.ones((4, 3)), np.ones(4))

    answer = problem(data.http.post("/v1/plans", json=spec(validation=validation)), 422)

    [error] = answer["errors"]
    assert error["pointer"] == pointer
    assert says in error["detail"]


def test_units_of_an_npz_are_held_out_whole(data: Bench) -> None:
    put(data, "people", np.ones((40, 3)), np.arange(40) % 2, units=np.arange(40) // 8)

    body = spec(dataset="people", validation={"fraction": 0.5, "by_unit": True})

    assert data.http.post("/v1/plans", json=body).json()["validation_examples"] == 16  # 2 of 5


def test_rows_of_weight_0_are_no_validation_examples(data: Bench) -> None:
    put(data, "half", np.ones((8, 3)), np.arange(8) % 2, weights=np.arange(8) % 2)
    body = spec(validation={"dataset": "half"})
    assert data.http.post("/v1/plans", json=body).json()["validation_examples"] == 4


def test_ids_of_the_other_dataset_are_checked_too(data: Bench) -> None:
    for name, most in (("ids", 5), ("more", 6)):
        put(data, name, np.arange(36).reshape(12, 3) % most, np.arange(12) % 2)
    embedding = {"kind": "embedding", "num_embeddings": 5, "embedding_dim": 1}
    layers = [embedding, {"kind": "flatten"}, {"kind": "linear", "out_features": 2}]
    body = spec(dataset="ids", model={"layers": layers}, validation={"dataset": "more"})
    [error] = problem(data.http.post("/v1/plans", json=body), 422)["errors"]
    assert error["pointer"] == "/validation/dataset"
    assert "Dataset more" in error["detail"]


def test_too_few_units_are_told(data: Bench) -> None:
    put(data, "one", np.ones((8, 3)), np.arange(8) % 2, units=np.zeros(8, int))
    rule = {"fraction": 0.5, "by_unit": True}
    body = spec(dataset="one", validation=rule, early_stopping={"patience": 2})
    [error] = problem(data.http.post("/v1/plans", json=body), 422)["errors"]
    assert "0.5 of units, rounded down, is 0. Raise validation.fraction, or push" in error["detail"]
    assert "more units" in error["detail"]
