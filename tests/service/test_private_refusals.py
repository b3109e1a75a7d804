"""What the service refuses to tell of a private job, and why."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchgrad.contract import Job
from batchgrad_service.store import Store
from tests.service.building import npz, problem
from tests.service.private_jobs import PrivateService, private_service, spec


@pytest.fixture
def service(store: Store, tmp_path: Path) -> Iterator[PrivateService]:
    with private_service(store, tmp_path) as made:
        made.push()
        yield made


def trained(service: PrivateService, **changes: Any) -> Job:
    job = service.ended(service.submit(steps=3, **changes).id)
    assert job.status == "succeeded", job.detail
    return job


def test_single_rows_and_longer_training_are_refused(service: PrivateService) -> None:
    job, http = trained(service), service.http
    url = f"/v1/jobs/{job.id}"
    cases = [
        (http.get(f"{url}/examples"), "single training examples are what its noise hides"),
        (http.get(f"{url}/examples/0"), "its rows are what the job protects"),
        (http.get(f"{url}/examples/0?format=npy"), "its rows are what the job protects"),
        (http.get(f"{url}/steps/1/examples"), "would undo the noise"),
        (http.post(f"{url}/resume", json={"more_steps": 5}), "was fixed when it was submitted"),
        (http.get(f"{url}/rows?set=training"), "rows tell of single rows"),
        (http.get(f"{url}/rows"), "rows tell of single rows"),
        (http.post(f"{url}/evaluations", json={"set": "training"}), "rows tell of single rows"),
        (http.post(f"{url}/evaluations", json={"dataset": "rows"}), "rows tell of single rows"),
        (http.post(f"{url}/predictions", json={"dataset": "rows"}), "rows tell of single rows"),
    ]
    for answer, why in cases:
        refused = problem(answer, 409)
        assert refused["code"] == "private_job"
        assert why in refused["detail"]
        assert job.id in refused["detail"]
    assert f"initial_parameters: {{job: {job.id}}}" in problem(cases[4][0], 409)["detail"]


def test_rows_that_are_not_protected_are_evaluated(service: PrivateService) -> None:
    service.push("public", seed=1)
    privacy = {**spec()["privacy"], "validation": "public"}
    job = trained(service, privacy=privacy, validation_fraction=0.2, batch_size=8)
    assert job.validation_loss is not None
    for body in ({"dataset": "public"}, {"set": "validation"}):
        answer = service.http.post(f"/v1/jobs/{job.id}/evaluations", json=body)
        assert answer.status_code == 202, answer.text
    listed = service.http.get(f"/v1/jobs/{job.id}/rows")
    assert len(listed.json()["data"]) == 20
    refused = service.http.get(f"/v1/jobs/{job.id}/rows?set=training")
    assert problem(refused, 409)["code"] == "private_job"
    refused = service.http.post(f"/v1/jobs/{job.id}/evaluations", json={"set": "training"})
    assert problem(refused, 409)["code"] == "private_job"


def test_parameters_that_tell_of_the_rows_are_no_start(service: PrivateService) -> None:
    plain = {"privacy": None, "steps": 3}
    first = service.ended(service.submit(**plain).id)
    service.push("other", seed=1)
    # It tells of the rows too, since it started from the first job.
    second = service.ended(
        service.submit(**plain, dataset="other", initial_parameters={"job": first.id}).id
    )
    assert second.status == "succeeded"
    for job in (first, second):
        start = {"initial_parameters": {"job": job.id}}
        for url in ("/v1/jobs", "/v1/plans"):
            [error] = problem(service.http.post(url, json=spec(**start)), 422)["errors"]
            assert error["pointer"] == "/initial_parameters"
            assert "without privacy, so they tell about the rows" in error["detail"]
    unrelated = service.ended(service.submit(**plain, dataset="other").id)
    service.submit(initial_parameters={"job": unrelated.id})


def test_private_parameters_are_a_start_and_epsilon_adds_up(service: PrivateService) -> None:
    first = trained(service)
    second = service.submit(steps=2, initial_parameters={"job": first.id})
    assert "Epsilons add up: with this job's it is 0.5." in second.warnings[-1]
    assert service.store.dataset("rows").privacy.epsilon == pytest.approx(0.5)  # type: ignore[union-attr]


def test_metrics_have_privacy_and_no_figures_of_the_sample(service: PrivateService) -> None:
    job = service.submit(steps=100_000)
    service.until(lambda: service.store.job(job.id).step > 0)
    text = service.http.get("/metrics").text
    own = {line.split("{")[0] for line in text.splitlines() if job.id in line}
    service.supervisor.cancel(job.id)
    assert own >= {
        f"batchgrad_job_privacy_{name}"
        for name in ("epsilon", "delta", "noise_multiplier", "clip_norm")
    }
    assert 'batchgrad_dataset_privacy_epsilon{dataset="rows"} 10000.0' in text
    hidden = ("examples_total", "phase_seconds", "example_gradient_norm", "noise_scale", "loss")
    assert not [name for name in own if any(each in name for each in hidden)]
    service.ended(job.id)


def test_a_private_plan_has_no_warnings_that_tell_of_the_rows(service: PrivateService) -> None:
    random = np.random.default_rng(0)
    inputs = (random.normal(size=(100, 3)) * [1, 1, 1e6]).astype(np.float32)
    targets = (np.arange(100) == 7).astype(np.int64)
    service.http.put("/v1/datasets/odd", content=npz(inputs=inputs, targets=targets))
    plain = spec(dataset="odd", privacy=None, standardize=False)
    told = service.http.post("/v1/plans", json=plain).json()["warnings"]
    hidden = service.http.post("/v1/plans", json=spec(dataset="odd")).json()["warnings"]
    other = service.http.post("/v1/plans", json=spec()).json()["warnings"]
    assert told
    assert hidden == other
