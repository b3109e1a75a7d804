"""Parameters over HTTP: initial parameters of a job, and downloads."""

import base64
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save
from starlette.testclient import TestClient

from batchgrad_workers.data.standardization import Standardization
from tests.service.building import body, problem, push, submit
from tests.service.checkpoint_files import WEIGHTS, checkpoint
from tests.service.conftest import Bench


def initial(tensors: dict[str, Any]) -> dict[str, str]:
    return {"safetensors": base64.b64encode(save(tensors)).decode()}


def test_uploaded_parameters_are_kept_as_long_as_a_job_starts_from_them(bench: Bench) -> None:
    push(bench.http)
    job = submit(bench.http, initial_parameters=initial(WEIGHTS))
    again = submit(bench.http, initial_parameters=initial(WEIGHTS))
    start = job.spec.initial_parameters
    assert start is not None
    assert start.digest is not None
    assert start.safetensors is None
    file = bench.data_dir / "parameters" / f"{start.digest.removeprefix('sha256:')}.safetensors"
    assert file.read_bytes() == save(WEIGHTS)
    assert bench.store.job_inputs(job.id).initial_parameters == start.digest
    by_digest = submit(bench.http, initial_parameters={"digest": start.digest})
    for one in (job, again, by_digest):
        assert file.exists()
        bench.supervisor.cancel(one.id)
        assert bench.http.delete(f"/v1/jobs/{one.id}").status_code == 204
        assert ("end engine", one.id) in bench.supervisor.commands
    assert not file.exists()


@pytest.mark.parametrize(
    ("tensors", "detail"),
    [
        ({**WEIGHTS, "0.weight": np.zeros((2, 4), np.float32)}, "0.weight [2, 4]"),
        ({"0.weight": WEIGHTS["0.weight"]}, "no 0.bias; this model needs 0.bias [2]"),
        ({**WEIGHTS, "2.bias": WEIGHTS["0.bias"]}, "'2.bias', which this model does not have"),
        ({**WEIGHTS, "0.bias": np.zeros(2, np.int64)}, "0.bias is I64"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(
    http: TestClient, tensors: dict[str, Any], detail: str
) -> None:
    push(http)
    answer = http.post("/v1/jobs", json=body(initial_parameters=initial(tensors)))
    [error] = problem(answer, 422)["errors"]
    assert error["pointer"] == "/initial_parameters/safetensors"
    assert detail in error["detail"]


def test_parameters_are_downloaded_of_the_newest_or_a_given_step(bench: Bench) -> None:
    push(bench.http)
    job = submit(bench.http)
    url = f"/v1/jobs/{job.id}/parameters"
    assert problem(bench.http.get(url), 409)["code"] == "no_checkpoint"
    for step in (5, 10):
        checkpoint(bench, job.id, step)
    listed = bench.http.get(f"/v1/jobs/{job.id}/checkpoints").json()
    assert [one["step"] for one in listed["data"]] == [10, 5]
    (bench.data_dir / "got.npz").write_bytes(bench.http.get(f"{url}?format=npz&step=5").content)
    with np.load(bench.data_dir / "got.npz") as got:
        np.testing.assert_array_equal(got["0.weight"], WEIGHTS["0.weight"] + 5)
    newest = bench.http.get(url)
    assert newest.headers["content-disposition"].endswith('filename="digits-step-10.safetensors"')
    etag = newest.headers["etag"]
    for known, status in ((etag, 304), (f'"x", W/{etag}', 304), ("*", 304), ('"x"', 200)):
        answer = bench.http.get(url, headers={"if-none-match": known})
        assert (answer.status_code, answer.headers["etag"]) == (status, etag)
        assert bool(answer.content) == (status == 200)
        assert answer.headers["cache-control"] == "private, no-cache"
    answer = bench.http.get(f"{url}?precision=float64", headers={"if-none-match": etag})
    assert answer.status_code == 200
    assert problem(bench.http.get(f"{url}?which=best"), 409)["code"] == "no_best_parameters"
    assert "[5, 10], none of 7" in problem(bench.http.get(f"{url}?step=7"), 404)["detail"]
    assert problem(bench.http.get(f"{url}?format=pickle"), 422)


def of_step(content: bytes) -> float:
    """The step of parameters that `checkpoint` wrote."""
    found: float = load(content)["0.bias"][0]
    return found


def test_the_best_parameters_are_downloaded_listed_and_started_from(bench: Bench) -> None:
    push(bench.http)
    job = submit(bench.http, validation_fraction=0.2)
    for step, best in ((5, 4), (10, 8), (15, 8)):
        checkpoint(bench, job.id, step, best_step=best)
    url = f"/v1/jobs/{job.id}/parameters"
    kept, last = bench.http.get(url), bench.http.get(f"{url}?which=last")
    for query, step in (("", 8), ("?which=best", 8), ("?which=last", 15), ("?step=8", 8)):
        assert of_step(bench.http.get(url + query).content) == step
    for step in (4, 5, 10, 15):
        assert of_step(bench.http.get(f"{url}?step={step}").content) == step
    assert kept.headers["content-disposition"].endswith('filename="digits-step-8.safetensors"')
    assert kept.headers["etag"] != last.headers["etag"]
    assert "[4, 5, 8, 10, 15], none of 7" in problem(bench.http.get(f"{url}?step=7"), 404)["detail"]
    assert "give only one" in problem(bench.http.get(f"{url}?step=8&which=best"), 422)["detail"]
    listed = bench.http.get(f"/v1/jobs/{job.id}/checkpoints").json()["data"]
    assert [(one["step"], one["best"]["step"]) for one in listed] == [(15, 8), (10, 8), (5, 4)]
    shown = bench.store.job(job.id)
    assert shown.best is not None
    assert (shown.parameters_step, shown.best.validation_accuracy) == (8, 0.875)
    assert (shown.parameters_digest, shown.last_parameters_digest) == (
        "sha256:" + "e" * 64,
        "sha256:" + "d" * 64,
    )
    second = submit(bench.http, initial_parameters={"job": job.id})
    assert second.spec.initial_parameters is not None
    start = bench.data_dir / "parameters"
    assert [of_step(file.read_bytes()) for file in start.iterdir()] == [8]
    page = bench.http.get(f"/jobs/{job.id}").text
    assert "the best parameters, after step 8 (epoch 1), by validation loss: 0.25" in page
    assert f"/v1/jobs/{job.id}/parameters?which=last" in page


def test_a_folded_download_takes_raw_inputs(bench: Bench) -> None:
    push(bench.http)
    job = submit(bench.http, standardize=True)
    known = Standardization(np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0]))
    checkpoint(bench, job.id, 5, known)
    url = f"/v1/jobs/{job.id}/parameters"
    plain, folded = bench.http.get(url), bench.http.get(url, params={"fold": True})
    assert plain.headers["etag"] != folded.headers["etag"]
    weight, bias = (load(plain.content)[name] for name in ("0.weight", "0.bias"))
    raw = np.array([5.0, -1.0, 0.5])
    expected = weight @ ((raw - known.mean) / known.deviation) + bias
    found = load(folded.content)
    np.testing.assert_allclose(found["0.weight"] @ raw + found["0.bias"], expected, rtol=1e-6)
    unbiased = {"layers": [{"kind": "linear", "out_features": 2, "bias": False}]}
    other = submit(bench.http, model=unbiased, standardize=True)
    checkpoint(bench, other.id, 5, known)
    refused = problem(bench.http.get(f"/v1/jobs/{other.id}/parameters?fold=true"), 422)
    assert refused["code"] == "cannot_fold"


def test_a_precision_that_does_not_hold_a_parameter_is_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(bench.http)
    job = submit(bench.http, precision="float64")
    monkeypatch.setitem(WEIGHTS, "0.bias", np.array([0.0, -1e39]))
    checkpoint(bench, job.id, 5)
    url = f"/v1/jobs/{job.id}/parameters?precision="
    refused = problem(bench.http.get(f"{url}float32"), 422)
    assert refused["code"] == "precision_too_small"
    assert load(bench.http.get(f"{url}float64").content)["0.bias"][1] == 5 - 1e39


def test_a_job_that_ended_without_a_checkpoint_gives_409(bench: Bench) -> None:
    push(bench.http)
    job = submit(bench.http)
    bench.http.post(f"/v1/jobs/{job.id}/cancel")
    for path in ("parameters", "examples"):
        refused = problem(bench.http.get(f"/v1/jobs/{job.id}/{path}"), 409)
        assert refused["code"] == "ended_without_checkpoint"
        assert "wait" not in refused["detail"]
    answer = bench.http.post("/v1/jobs", json=body(initial_parameters={"job": job.id}))
    assert "ended without a checkpoint: start from a seed" in problem(answer, 422)["detail"]


def test_a_job_can_start_from_another_jobs_parameters(bench: Bench) -> None:
    push(bench.http)
    first = submit(bench.http)
    answer = bench.http.post("/v1/jobs", json=body(initial_parameters={"job": first.id}))
    assert "no checkpoint yet" in problem(answer, 422)["detail"]
    checkpoint(bench, first.id, 10)
    second = submit(bench.http, initial_parameters={"job": first.id})
    assert second.spec.initial_parameters is not None
    assert second.spec.initial_parameters.job is None
    third = submit(bench.http, initial_parameters={"digest": second.spec.initial_parameters.digest})
    assert third.spec.initial_parameters == second.spec.initial_parameters


def damage(bench: Bench, job_id: str, step: int) -> None:
    """Flip one bit in the middle of a checkpoint."""
    file = bench.data_dir / "jobs" / job_id / f"step-{step:010d}.safetensors"
    content = bytearray(file.read_bytes())
    content[-20] ^= 16
    file.write_bytes(content)


@pytest.mark.parametrize("kind", ["safetensors", "npz"])
def test_a_damaged_checkpoint_is_skipped_with_a_warning(bench: Bench, kind: str) -> None:
    push(bench.http)
    job = submit(bench.http)
    for step in (2, 4, 6):
        checkpoint(bench, job.id, step)
    damage(bench, job.id, 6)
    url = f"/v1/jobs/{job.id}/parameters"
    answer = bench.http.get(url, params={"format": kind})
    assert answer.status_code == 200
    assert "step-4." in answer.headers["content-disposition"]
    assert answer.headers["warning"].startswith('199 batchgrad "step-0000000006.safetensors')
    assert "These are the parameters of step 4." in answer.headers["warning"]
    named = problem(bench.http.get(url, params={"step": 6}), 409)
    assert named["code"] == "bad_checkpoint"
    assert "[2, 4]" in named["detail"]
    assert "warning" not in bench.http.get(url, params={"step": 4}).headers
    start = bench.http.post("/v1/jobs", json=body(initial_parameters={"job": job.id}))
    assert "older checkpoint" in problem(start, 422)["errors"][0]["detail"]
    for step in (2, 4):
        damage(bench, job.id, step)
    assert problem(bench.http.get(url), 409)["code"] == "bad_checkpoint"


def test_damaged_metadata_give_no_internal_error(bench: Bench) -> None:
    push(bench.http)
    job = submit(bench.http)
    checkpoint(bench, job.id, 2)
    file = bench.data_dir / "jobs" / job.id / "step-0000000002.safetensors"
    whole = file.read_bytes()
    begins = whole.index(b"batchgrad")
    for place in range(begins, begins + 260, 5):
        content = bytearray(whole)
        content[place] ^= 2
        file.write_bytes(content)
        url = f"/v1/jobs/{job.id}/parameters"
        assert bench.http.get(url).status_code in {200, 409}, place
