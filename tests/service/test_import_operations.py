"""Imports over HTTP: files that become datasets, dry runs, replacing, refusals."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from starlette.testclient import TestClient

from batchgrad.contract import Operation
from batchgrad_service.disk_space import DiskSpace
from tests.service.building import npz, problem
from tests.service.conftest import Bench
from tests.service.test_uploads import begin, digest_of
from tests.service.waiting import ended, upload

FILE = npz(inputs=np.arange(12, dtype="f4").reshape(4, 3), targets=np.array([0, 1, 2, 1]))
OTHER = npz(inputs=np.ones((4, 3), "f4"), targets=np.array([0, 1, 2, 1]))


def start(http: TestClient, digest: str, name: str = "d", **changes: Any) -> Any:
    return http.put(f"/v1/datasets/{name}", json={"file": {"upload": digest}, **changes})


def imported(http: TestClient, digest: str, **changes: Any) -> Operation:
    begun = start(http, digest, **changes)
    assert begun.status_code == 202, begun.text
    where = begun.headers["Location"]
    return ended(lambda: Operation.model_validate(http.get(where).json()))


def test_an_uploaded_file_becomes_a_dataset(http: TestClient) -> None:
    done = imported(http, upload(http, FILE))
    assert done.status == "succeeded"
    assert done.rows_done == done.rows == 4
    assert done.finished_at is not None
    assert done.dataset is not None
    assert http.get("/v1/datasets/d").json() == done.dataset.model_dump(mode="json")
    assert http.put("/v1/datasets/d", content=FILE).status_code == 200  # the same content
    listed = http.get("/v1/operations").json()
    assert [one["id"] for one in listed["data"]] == [done.id]
    result = problem(http.get(f"/v1/operations/{done.id}/result"), 404)
    assert "not a file" in result["detail"]
    assert http.delete(f"/v1/operations/{done.id}").status_code == 204
    assert problem(http.get(f"/v1/operations/{done.id}"), 404)["code"] == "not_found"


def test_a_dry_run_describes_and_stores_nothing(bench: Bench, http: TestClient) -> None:
    done = imported(http, upload(http, FILE), dry_run=True)
    assert done.dataset is not None
    assert done.dataset.examples == 4
    assert http.get("/v1/datasets/d").status_code == 404
    assert list((bench.data_dir / "datasets").iterdir()) == []


def test_another_content_needs_replace(bench: Bench, http: TestClient) -> None:
    first = imported(http, upload(http, FILE))
    other = upload(http, OTHER)
    refused = imported(http, other)
    assert refused.status == "failed"
    assert refused.problem is not None
    assert (refused.problem.status, refused.problem.code) == (409, "dataset_exists")
    replaced = imported(http, other, replace=True)
    assert replaced.dataset is not None
    assert first.dataset is not None
    assert replaced.dataset.digest != first.dataset.digest
    assert len(list((bench.data_dir / "datasets").iterdir())) == 1
    again = http.put("/v1/datasets/d?replace=true", json={"file": {"upload": digest_of(FILE)}})
    done = ended(lambda: Operation.model_validate(http.get(again.headers["Location"]).json()))
    assert done.dataset is not None
    assert done.dataset.digest == first.dataset.digest


def test_a_file_that_cannot_be_read_fails_its_operation(bench: Bench, http: TestClient) -> None:
    done = imported(http, upload(http, b"no npz"))
    assert done.status == "failed"
    assert done.problem is not None
    assert (done.problem.status, done.problem.code) == (422, "invalid_request")
    assert "--format csv" in done.problem.detail
    assert list((bench.data_dir / "datasets").iterdir()) == []
    result = problem(http.get(f"/v1/operations/{done.id}/result"), 409)
    assert result["code"] == "operation_not_succeeded"


def test_an_import_needs_the_whole_upload(http: TestClient) -> None:
    missing = problem(start(http, digest_of(FILE)), 422)
    assert missing["code"] == "upload_not_found"
    assert missing["errors"][0]["pointer"] == "/file/upload"
    begin(http, FILE)
    incomplete = problem(start(http, digest_of(FILE)), 422)
    assert incomplete["code"] == "upload_incomplete"
    wrong = problem(http.put("/v1/datasets/d", json={"file": {}}), 422)
    assert wrong["errors"][0]["pointer"] == "/file/upload"


def test_an_import_that_the_disk_cannot_take_leaves_its_file(
    make_bench: Callable[..., Bench],
) -> None:
    free = [10**9]
    http = make_bench(disk=DiskSpace([Path("/")], 1000, free=lambda _: free[0])).http
    digest = upload(http, FILE)
    free[0] = 1000 + len(FILE) - 1
    assert problem(start(http, digest), 507)["code"] == "disk_full"
    free[0] += 1
    assert imported(http, digest).status == "succeeded"


def test_an_import_s_body_is_limited_as_json(make_bench: Callable[..., Bench]) -> None:
    http = make_bench(max_request_bytes=2000).http
    long = start(http, digest_of(FILE), table={"drop": ["x" * 3000]})
    assert problem(long, 413)["code"] == "too_large"
