"""The client against a scripted service: its requests, and its results for each answer."""

import json
import pickle
from pathlib import Path
from typing import Any

import httpx2
import pytest

from batchgrad import Client, errors
from batchgrad.contract import JobSpec
from batchgrad.http.retries import Retries, retry_after_seconds


def test_submit_is_retried_with_the_same_idempotency_key(kit: Any) -> None:
    script = kit.Script(
        httpx2.ConnectError("refused"),
        kit.answer(503),
        kit.answer(429, None, **{"Retry-After": "7"}),
        kit.answer(201, kit.job(status="queued")),
    )
    with script.client() as client:
        assert client.submit(kit.SPEC).status == "queued"
        client.submit(kit.SPEC)
    keys = [request.headers["Idempotency-Key"] for request in script.seen]
    assert len(keys) == 5
    assert len(set(keys[:4])) == 1
    assert keys[4] != keys[0]
    assert script.slept == [0.2, 0.4, 7.0]


def test_submit_sends_the_key_it_is_given_and_only_what_was_set(kit: Any) -> None:
    script = kit.Script(kit.answer(201, kit.job()))
    with script.client() as client:
        client.submit(JobSpec.model_validate(kit.SPEC), idempotency_key="mine")
    assert script.seen[0].headers["Idempotency-Key"] == "mine"
    assert json.loads(script.seen[0].content) == kit.SPEC


def test_retries_end_with_the_last_error(kit: Any) -> None:
    script = kit.Script(httpx2.ConnectError("refused"))
    with script.client() as client, pytest.raises(errors.ConnectionFailed, match="batchgrad serve"):
        client.job("job_1")
    assert len(script.seen) == 5
    script = kit.Script(kit.problem(503, "starting", "Not yet."))
    with script.client() as client, pytest.raises(errors.ServerError, match="Not yet"):
        client.job("job_1")
    assert len(script.seen) == 5


def test_permanent_errors_are_not_retried(kit: Any) -> None:
    script = kit.Script(kit.problem(422, "invalid", "Wrong.", ("/batch_size", "got 0")))
    with script.client() as client, pytest.raises(errors.InvalidRequest) as caught:
        client.plan(kit.SPEC)
    assert len(script.seen) == 1
    assert script.seen[0].url.path == "/v1/plans"
    assert "/batch_size: got 0" in str(caught.value)
    assert caught.value.errors[0].pointer == "/batch_size"
    script = kit.Script(httpx2.ReadTimeout("slow"))
    with script.client() as client, pytest.raises(errors.Timeout, match="30 s"):
        client.job("job_1")
    assert len(script.seen) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.InvalidRequest),
        (401, errors.Unauthorized),
        (404, errors.NotFound),
        (409, errors.Conflict),
        (418, errors.ApiError),
        (500, errors.ServerError),
    ],
)
def test_each_refusal_has_its_class_and_survives_pickling(
    kit: Any, status: int, kind: type[errors.ApiError]
) -> None:
    script = kit.Script(kit.problem(status, "no", "Because."))
    with script.client(token="t") as client, pytest.raises(kind) as caught:  # noqa: S106 (no secret)
        client.cancel("job/1")
    error = caught.value
    assert str(error.request) == "POST http://service/v1/jobs/job%2F1/cancel"
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 (our own bytes)
    assert type(again) is type(error)
    assert (str(again), again.status, again.problem, again.request) == (
        "Because.",
        status,
        error.problem,
        error.request,
    )


def test_an_error_without_a_problem_document_has_a_message(kit: Any) -> None:
    page = httpx2.Response(404, text="<h1>nginx</h1>")
    with kit.Script(page).client() as client, pytest.raises(errors.NotFound, match=r"404.*nginx"):
        client.job("job_1")


def test_another_service_behind_the_url_is_recognised(kit: Any) -> None:
    script = kit.Script(httpx2.Response(200, text="<h1>It works!</h1>"))
    with script.client() as client, pytest.raises(errors.UnexpectedAnswer, match="not a valid Job"):
        client.job("job_1")


@pytest.mark.parametrize("url", ["localhost:8711", "ftp://host", "http://", "http://host:port"])
def test_an_invalid_url_is_named(url: str) -> None:
    with pytest.raises(errors.BatchgradError, match="The service's URL is"):
        Client(url)


def test_url_and_token_come_from_the_environment(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHGRAD_URL", "http://elsewhere:1/base/")
    monkeypatch.setenv("BATCHGRAD_TOKEN", "secret")
    script = kit.Script(kit.answer(200, kit.job()))
    with Client(transport=httpx2.MockTransport(script)) as client:
        client.job("job_1")
    assert str(script.seen[0].url) == "http://elsewhere:1/base/v1/jobs/job_1"
    assert script.seen[0].headers["Authorization"] == "Bearer secret"


def test_lists_are_fetched_page_by_page(kit: Any) -> None:
    script = kit.Script(
        kit.answer(200, {"data": [kit.job(id="a"), kit.job(id="b")], "next": "cursor"}),
        kit.answer(200, {"data": [kit.job(id="c")], "next": None}),
    )
    with script.client() as client:
        found = [
            job.id for job in client.jobs(status=["running", "queued"], label="a=b", search="x y")
        ]
    assert found == ["a", "b", "c"]
    assert script.seen[0].url.params.get_list("status") == ["running", "queued"]
    assert script.seen[1].url.params["after"] == "cursor"
    assert script.seen[1].url.params["label"] == "a=b"
    assert script.seen[1].url.params["search"] == "x y"


def test_a_dataset_file_is_read_anew_for_each_attempt(kit: Any, tmp_path: Path) -> None:
    file = tmp_path / "digits.npz"
    file.write_bytes(b"npz" * 1000)
    script = kit.Script(kit.answer(503), kit.answer(201, kit.DATASET))
    with script.client() as client:
        assert client.put_dataset("digits", file, replace=True).classes == 10
    assert [request.content for request in script.seen] == [b"npz" * 1000] * 2
    assert script.seen[0].headers["Content-Length"] == "3000"
    assert script.seen[1].url.params["replace"] == "true"


def test_download_takes_the_format_from_the_name_and_leaves_no_half_file(
    kit: Any, tmp_path: Path
) -> None:
    script = kit.Script(httpx2.Response(200, content=b"bytes"), kit.problem(404, "gone", "Gone."))
    with script.client() as client:
        target = client.download("job_1", tmp_path / "theta.npz", step=4)
        with pytest.raises(errors.NotFound):
            client.download("job_1", tmp_path / "other.safetensors")
    assert target.read_bytes() == b"bytes"
    assert dict(script.seen[0].url.params) == {"format": "npz", "step": "4"}
    assert script.seen[1].url.params["format"] == "safetensors"
    assert [path.name for path in tmp_path.iterdir()] == ["theta.npz"]


def test_gradients_accepts_arrays_and_refuses_values_without_json(kit: Any) -> None:
    class Array:
        def tolist(self) -> list[float]:
            return [1.0, 2.0]

    script = kit.Script(kit.problem(422, "invalid", "Wrong."))
    with script.client() as client:
        with pytest.raises(errors.InvalidRequest):
            client.gradients({"inputs": Array()})
        with pytest.raises(errors.InvalidSpec, match="object is not JSON"):
            client.gradients({"inputs": object()})
        with pytest.raises(errors.InvalidSpec, match="Nothing was sent"):
            client.gradients({"inputs": [[float("nan")]]})
    assert json.loads(script.seen[0].content) == {"inputs": [1.0, 2.0]}


def test_ready_sends_one_request_and_never_raises(kit: Any) -> None:
    assert kit.Script(httpx2.Response(200)).client().ready()
    assert not kit.Script(httpx2.Response(503)).client().ready()
    silent = kit.Script(httpx2.ConnectError("refused"))
    assert not silent.client().ready()
    assert len(silent.seen) == 1


def test_delays_grow_to_a_limit_and_a_long_retry_after_is_not_waited_for() -> None:
    retries = Retries(max_attempts=9, jitter=lambda: 0.0)
    assert [retries.delay(n) for n in (1, 2, 3, 8, 9)] == [0.1, 0.2, 0.4, 2.5, None]
    assert retries.delay(1, 59.0) == 59.0
    assert retries.delay(1, 61.0) is None


def test_retry_after_is_seconds_or_a_date() -> None:
    assert retry_after_seconds("3") == 3.0
    assert retry_after_seconds("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert retry_after_seconds("soon") is None
    assert retry_after_seconds(None) is None


def test_each_request_has_the_timeout_of_its_method(kit: Any) -> None:
    script = kit.Script(kit.answer(200, kit.job()))
    with script.client() as client:
        client.job("job_1")
    with script.client(timeout=None) as client:
        client.job("job_1")
    script.answers = [httpx2.Response(200, content=b"bytes")]
    with script.client(timeout=2) as client:
        client.parameters("job_1")
        client.parameters("job_1", timeout=3)
        client.parameters("job_1", timeout=None)
    limits = [request.extensions["timeout"] for request in script.seen]
    assert [limit["read"] for limit in limits] == [30.0, None, 600.0, 3.0, None]
    assert [limit["connect"] for limit in limits] == [5.0, 5.0, 5.0, 3.0, 5.0]


def test_without_a_reconnect_timeout_a_client_waits_forever(kit: Any) -> None:
    away = [httpx2.ConnectError("refused")] * 200
    ended = kit.answer(200, kit.job(status="succeeded"))
    script = kit.Script(kit.answer(200, kit.job()), *away, ended)
    with script.client(reconnect_timeout=None) as client:
        assert client.wait("job_1").status == "succeeded"
    assert sum(script.slept) > 120


def test_steps_begin_after_the_one_that_is_named(kit: Any) -> None:
    script = kit.Script(kit.page())
    with script.client() as client:
        assert list(client.steps("job_1", after=3)) == []
        assert list(client.steps("job_1")) == []
    assert [request.url.query for request in script.seen] == [b"after=3", b""]


def test_resume_sends_a_length_only_if_there_is_one(kit: Any) -> None:
    script = kit.Script(kit.answer(200, kit.job()))
    with script.client() as client:
        client.resume("job_1")
        client.resume("job_1", more_epochs=2)
    plain, longer = script.seen
    assert (plain.content, "Idempotency-Key" in plain.headers) == (b"", False)
    assert (longer.content, "Idempotency-Key" in longer.headers) == (b'{"more_epochs": 2}', True)
