"""/v1/jobs: submissions, lists, actions and deletion."""

import json
import threading
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from batchgrad.contract import Job, Plan
from tests.service.building import body, npz, problem, push, spec, submit
from tests.service.checkpoint_files import checkpoint
from tests.service.conftest import Bench

JSON = {"content-type": "application/json"}


def test_a_job_is_queued_and_the_supervisor_notified(bench: Bench) -> None:
    dataset = push(bench.http)
    answer = bench.http.post("/v1/jobs", json=body(labels={"team": "blue"}))
    assert answer.status_code == 201
    job = Job.model_validate(answer.json())
    assert answer.headers["location"] == f"/v1/jobs/{job.id}"
    assert (job.status, job.steps_planned) == ("queued", 20)
    assert bench.supervisor.notified == 1
    assert bench.http.get(f"/v1/jobs/{job.id}").json() == answer.json()
    assert bench.store.job_inputs(job.id).dataset_digest == dataset["digest"]


def test_a_query_is_refused_and_creates_no_job(bench: Bench) -> None:
    push(bench.http)
    detail = problem(bench.http.post("/v1/jobs?dry_run=true", json=body()), 422)["detail"]
    assert "got 'dry_run=true'; POST /v1/plans answers what a job would do." in detail
    assert bench.http.get("/v1/jobs").json()["data"] == []


def test_only_submissions_with_parameters_wait_for_each_other(bench: Bench) -> None:
    push(bench.http)
    answers: list[int] = []

    def send() -> None:
        responses = (bench.http.post(path, json=body()) for path in ("/v1/jobs", "/v1/plans"))
        answers.extend(answer.status_code for answer in responses)

    asking = threading.Thread(target=send, daemon=True)
    with bench.app.state.services.parameters.lock:
        asking.start()
        asking.join(20)
        assert answers == [201, 200]


def test_an_idempotency_key_submits_once(bench: Bench) -> None:
    push(bench.http)
    headers = {"Idempotency-Key": "k"}
    first = bench.http.post("/v1/jobs", json=body(), headers=headers)
    bench.store.transition(first.json()["id"], to="cancelled", allowed=["queued"])
    bench.http.delete("/v1/datasets/digits")  # even now the answer is the job of the first time
    again = bench.http.post("/v1/jobs", json=body(), headers=headers)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["id"] == first.json()["id"]
    assert bench.supervisor.notified == 1
    other = bench.http.post("/v1/jobs", json=body(seed=1), headers=headers)
    assert problem(other, 422)["code"] == "idempotency_key_reused"


def test_a_plan_is_answered_and_nothing_is_queued(bench: Bench) -> None:
    dataset = push(bench.http)
    answer = bench.http.post("/v1/plans", json=body())
    assert answer.status_code == 200
    plan = Plan.model_validate(answer.json())
    assert (plan.dataset_digest, plan.parameters, plan.steps_planned) == (dataset["digest"], 8, 20)
    assert bench.store.jobs().data == []
    assert bench.supervisor.notified == 0
    long = " " * 2**15 + json.dumps(body())  # a spec may carry megabytes of parameters
    assert bench.http.post("/v1/plans", content=long, headers=JSON).status_code == 200


@pytest.mark.parametrize(
    ("changes", "pointer", "detail"),
    [
        ({"dataset": "nothing"}, "/dataset", "no dataset 'nothing'"),
        ({"batch_size": 0}, "/batch_size", "got 0; expected full, or at least 1."),
        ({"steps": None}, "", "got neither of epochs and steps: give exactly one."),
        ({"bach_size": 3}, "/bach_size", "unknown key 'bach_size': did you mean batch_size?"),
        (
            {"learning_rate": 0.1},
            "/learning_rate",
            "unknown key 'learning_rate': did you mean optimizer.learning_rate?",
        ),
        ({"name": "a b"}, "/name", "expected letters, digits, '.', '_' and '-'"),
        ({"standardize": None}, "/standardize", "got null; expected true or false."),
        (
            {"model": {"layers": [{"kind": "foo"}]}},
            "/model/layers/0/kind",
            "got 'foo'; expected one of linear, conv1d, conv2d,",
        ),
        ({"model": {"layers": [{}]}}, "/model/layers/0/kind", "'kind' is required"),
        (
            {"model": {"layers": [{"kind": "linear"}]}},
            "/model/layers/0/out_features",
            "out_features is required: add it.",
        ),
        (
            {"model": {"layers": [{"kind": "linear", "out_features": 2, "linear": 1}]}},
            "/model/layers/0/linear",
            "unknown key 'linear'",
        ),
        ({"model": {"layers": [{"kind": "batch_norm"}]}}, "/model/layers/0", "mixes the examples"),
        (
            {"model": {"layers": [{"kind": "linear", "out_features": 1}]}},
            "/model/layers",
            "class 1",
        ),
        ({"loss": "squared_error"}, "/loss", "numpy.eye(2, dtype='float32')[targets]"),
        (
            {"optimizer": {"kind": "sgd", "learning_rate": 1, "nesterov": True}},
            "/optimizer",
            "nesterov needs momentum",
        ),
        ({"workers": {"min": 3, "max": 1}}, "/workers", "min must not exceed max"),
        ({"workers": {"min": 3}}, "/workers/max", "max is required"),
        ({"workers": -1}, "/workers", "got -1; expected auto, or at least 0"),
        ({"labels": {"a/b": "x"}}, "/labels/a~1b", "got 'a/b'"),
        ({"name": "\ud800"}, "/name", "lone surrogates"),
        ({"initial_parameters": {"job": "nothing"}}, "/initial_parameters/job", "no job 'nothing'"),
        (
            {"initial_parameters": {"digest": "sha256:" + "0" * 64}},
            "/initial_parameters/digest",
            "No stored parameters",
        ),
        (
            {"initial_parameters": {"safetensors": "?"}},
            "/initial_parameters/safetensors",
            "Not base64",
        ),
        (
            {"initial_parameters": {"safetensors": "aGVsbG8gaGVsbG8="}},
            "/initial_parameters/safetensors",
            "Not a safetensors file",
        ),
    ],
)
def test_invalid_fields_are_named(
    bench: Bench, changes: dict[str, Any], pointer: str, detail: str
) -> None:
    push(bench.http)
    content = json.dumps(body(**changes))
    answer = bench.http.post("/v1/jobs", content=content, headers=JSON)
    found = problem(answer, 422)
    assert [error["pointer"] for error in found["errors"]] == [pointer]
    assert detail in found["errors"][0]["detail"]
    assert bench.store.jobs().data == []
    assert list((bench.data_dir / "parameters").iterdir()) == []


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_a_number_that_is_not_finite_is_refused(http: TestClient, number: str) -> None:
    push(http)
    text = (
        spec()
        .model_dump_json()
        .replace('"checkpoint_interval_seconds":30.0', '"checkpoint_interval_seconds":X')
    )
    answer = http.post(
        "/v1/jobs",
        content=text.replace("X", number),
        headers=JSON,
    )
    [error] = problem(answer, 422)["errors"]
    assert error["pointer"] == "/checkpoint_interval_seconds"
    assert "finite" in error["detail"]


@pytest.mark.parametrize(
    ("targets", "remedy"),
    [
        (np.ones((2, 3), np.float32), "store targets.argmax(1) if the rows are one-hot"),
        (np.ones((2, 1)), "store targets.ravel().astype('int64') if they are class numbers"),
        (np.ones(2), "store targets.astype('int64') if they are class numbers"),
    ],
)
def test_numbers_instead_of_classes_get_a_conversion(
    bench: Bench, targets: Any, remedy: str
) -> None:
    stored = npz(inputs=np.ones((2, 3)), targets=targets)
    assert bench.http.put("/v1/datasets/digits", content=stored).status_code == 201
    assert remedy in problem(bench.http.post("/v1/jobs", json=body()), 422)["detail"]


def test_jobs_are_listed_in_pages_and_filtered(bench: Bench) -> None:
    push(bench.http)
    made = [submit(bench.http, labels={"n": str(n % 2)}).id for n in range(3)]
    bench.store.begin_attempt(made[0])
    first = bench.http.get("/v1/jobs?limit=2").json()
    rest = bench.http.get("/v1/jobs", params={"limit": 2, "after": first["next"]}).json()
    assert [job["id"] for job in first["data"] + rest["data"]] == made[::-1]
    assert rest["next"] is None
    for query, expected in [
        ("status=starting", [made[0]]),
        ("status=starting&status=queued&label=n=0", [made[2], made[0]]),
        ("status=failed,cancelled", []),
        ("status=&label=&search=", made[::-1]),  # a form whose fields are blank
        (f"search=n=0 {made[2]}", [made[2]]),
        ("search=" + "+n" * 250, made[::-1]),
    ]:
        found = bench.http.get(f"/v1/jobs?{query}").json()["data"]
        assert [job["id"] for job in found] == expected
    for query in (
        "status=done",
        "label=n",
        "after=!",
        "limit=0",
        "limit=1001",
        "search=" + "x" * 501,
    ):
        problem(bench.http.get(f"/v1/jobs?{query}"), 422)


def test_actions_are_passed_to_the_supervisor(bench: Bench) -> None:
    push(bench.http)
    job = submit(bench.http)
    for action in ("pause", "resume", "cancel"):
        assert bench.http.post(f"/v1/jobs/{job.id}/{action}").status_code == 202
    assert bench.supervisor.commands == [(a, job.id) for a in ("pause", "resume", "cancel")]
    problem(bench.http.post(f"/v1/jobs/{job.id}/cancel"), 409)
    problem(bench.http.post("/v1/jobs/nothing/cancel"), 404)


def test_a_job_that_has_ended_is_lengthened(bench: Bench) -> None:
    push(bench.http)
    job = submit(bench.http)
    bench.store.transition(job.id, to="cancelled", allowed=["queued"])
    path, headers = f"/v1/jobs/{job.id}/resume", {"Idempotency-Key": "k"}
    more = {"more_epochs": 20}
    for _ in range(2):
        assert bench.http.post(path, json=more, headers=headers).status_code == 202
    first, again = bench.supervisor.lengthened
    assert first == again
    assert (first[0], first[1].more_epochs, first[2]) == (job.id, 20, "k")
    for wrong in ({"more_epochs": 0}, {"epochs": 20}, {"more_epochs": 1, "more_steps": 1}):
        problem(bench.http.post(path, json=wrong), 422)
    problem(bench.http.post("/v1/jobs/nothing/resume", json=more), 404)
    bench.http.delete("/v1/datasets/digits")
    gone = problem(bench.http.post(path, json=more), 409)
    assert gone["code"] == "dataset_gone"
    assert "push the same data again" in gone["detail"]
    push(bench.http, "other")  # the same content
    assert bench.http.post(path, json=more).status_code == 202


def test_deleting_a_finished_job_removes_its_files(bench: Bench) -> None:
    push(bench.http)
    job = submit(bench.http)
    assert (
        "Cancel it, or wait for its end"
        in problem(bench.http.delete(f"/v1/jobs/{job.id}"), 409)["detail"]
    )
    assert problem(bench.http.delete("/v1/datasets/digits"), 409)["code"] == "dataset_in_use"
    checkpoint(bench, job.id, 5)
    content = npz(inputs=np.ones((2, 3), np.float32), targets=np.array([0, 1]))
    replaced = bench.http.put("/v1/datasets/digits?replace=true", content=content)
    assert replaced.status_code == 200
    assert len(list((bench.data_dir / "datasets").iterdir())) == 2  # the job still needs the old
    bench.store.transition(job.id, to="failed")
    assert bench.http.delete(f"/v1/jobs/{job.id}").status_code == 204
    problem(bench.http.get(f"/v1/jobs/{job.id}"), 404)
    assert not (bench.data_dir / "jobs" / job.id).exists()
    assert len(list((bench.data_dir / "datasets").iterdir())) == 1
