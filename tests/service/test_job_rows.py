"""The rows of a job's sets over HTTP: pages, ids, other datasets, deleted ones."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchgrad.contract import JobRow, Page
from batchgrad_service.questions.job_rows import RowsQuestion, answer
from batchgrad_service.questions.kinds import ANSWERS
from batchgrad_service.routes.rows import SMALL_TARGET_BYTES
from tests.service.building import problem
from tests.service.conftest import Bench
from tests.service.test_validation_datasets import put, spec

SETS = ("training", "validation", "test")
ROWS = 40
OF_SET = np.array([0, 1, 2, 0] * 10, np.uint8)
WEIGHTS = np.where(np.arange(ROWS) % 5 == 0, 0.0, 1.0)
WEIGHED = np.flatnonzero(WEIGHTS)


@pytest.fixture
def data(bench: Bench) -> Bench:
    """Datasets `training`, with weights, a set and an id for each row, and `other`."""
    random = np.random.default_rng(0)
    inputs = random.normal(size=(ROWS, 3))
    put(bench, "training", inputs, np.arange(ROWS) % 2, weights=WEIGHTS)
    content = directory(bench, "training")
    np.save(content / "split.npy", OF_SET)
    np.save(content / "ids.npy", np.array([f"ü{n}".encode() for n in range(ROWS)]))
    put(bench, "other", inputs[:12], np.arange(12) % 2, weights=WEIGHTS[:12])
    return bench


def directory(bench: Bench, name: str) -> Path:
    digest = bench.http.get(f"/v1/datasets/{name}").json()["digest"]
    found: Path = bench.app.state.services.datasets.directory(digest)
    return found


def submit(bench: Bench, **changes: Any) -> str:
    made = bench.http.post("/v1/jobs", json=spec(**changes))
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def rows(bench: Bench, job: str, rows_of: str, limit: int = 1000) -> list[JobRow]:
    """The rows of all pages of `limit`."""
    found: list[JobRow] = []
    query: dict[str, Any] = {"set": rows_of, "limit": limit}
    while True:
        got = bench.http.get(f"/v1/jobs/{job}/rows", params=query)
        assert got.status_code == 200, got.text
        page = Page[JobRow].model_validate(got.json())
        found += page.data
        if page.next is None:
            return found
        assert len(page.data) == limit
        assert page.data[0].example > query.get("after", -1)
        query["after"] = int(page.next)


def numbers(found: list[JobRow]) -> list[int]:
    return [row.example for row in found]


def test_the_sets_that_a_column_names_in_pages_with_ids(data: Bench) -> None:
    job = submit(data, validation={"rows": "set"})
    for number, rows_of in enumerate(SETS):
        expected = [n for n in range(ROWS) if OF_SET[n] == number and WEIGHTS[n]]
        for limit in (1, 7, len(expected), 1000):
            found = rows(data, job, rows_of, limit)
            assert numbers(found) == expected
            assert [row.id for row in found] == [f"ü{n}" for n in expected]


def test_a_fraction_is_held_out_and_no_row_is_in_two_sets(data: Bench) -> None:
    job = submit(data, validation={"fraction": 0.25}, seed=3)
    training, validation, test = (numbers(rows(data, job, name)) for name in SETS)
    planned = data.http.post("/v1/plans", json=spec(validation={"fraction": 0.25}, seed=3)).json()
    assert (len(validation), test) == (planned["validation_examples"], [])
    assert sorted(training + validation) == WEIGHED.tolist()
    other = submit(data, validation={"fraction": 0.25}, seed=4)
    assert numbers(rows(data, other, "validation")) != validation
    default = data.http.get(f"/v1/jobs/{job}/rows").json()["data"]
    assert [row["example"] for row in default] == validation


def test_another_dataset_s_rows_are_the_validation_rows(data: Bench) -> None:
    job = submit(data, validation={"dataset": "other"})
    held_out = rows(data, job, "validation")
    assert numbers(held_out) == WEIGHED[WEIGHED < 12].tolist()
    assert {row.id for row in held_out} == {None}
    assert numbers(rows(data, job, "training")) == WEIGHED.tolist()
    data.store.transition(job, to="cancelled", allowed=["queued"])
    assert data.http.delete("/v1/datasets/other").status_code == 204
    gone = problem(data.http.get(f"/v1/jobs/{job}/rows"), 409)
    assert (gone["code"], "push the same data again" in gone["detail"]) == ("dataset_gone", True)
    assert rows(data, job, "training")


def test_a_process_of_its_own_gives_the_same_rows(data: Bench) -> None:
    job = submit(data, validation={"rows": "set"})
    question = RowsQuestion(
        job_id=job,
        spec=data.store.job_inputs(job).spec,
        dataset=directory(data, "training"),
        validation=None,
        set="test",
        after=10,
        limit=3,
    )
    found = ANSWERS["rows"](question.model_dump_json().encode())
    assert Page[JobRow].model_validate_json(found) == answer(question)
    assert numbers(answer(question).data) == [14, 18, 22]
    before = rows(data, job, "test", limit=3)
    wide = np.zeros((ROWS, SMALL_TARGET_BYTES // ROWS // 8 + 1))  # their values are not needed
    np.save(directory(data, "training") / "targets.npy", wide)
    assert rows(data, job, "test", limit=3) == before


def test_wrong_sets_and_jobs_are_refused(data: Bench) -> None:
    job = submit(data)
    assert rows(data, job, "validation") == []
    assert "training" in str(problem(data.http.get(f"/v1/jobs/{job}/rows?set=all"), 422))
    assert problem(data.http.get("/v1/jobs/job_0/rows"), 404)["code"] == "job_not_found"
