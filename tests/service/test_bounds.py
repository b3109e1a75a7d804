"""Limits of a request: length, time, memory."""

import asyncio
import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from starlette.requests import Request
from starlette.testclient import TestClient

from batchgrad.parsing.validation import MOST_ERRORS
from batchgrad_service.http.body_buffer import BodyBuffer
from batchgrad_service.problems import BadRequestError, UnavailableError
from batchgrad_service.routes import dependencies, examples
from batchgrad_service.validation import memory
from batchgrad_service.validation import plan as plan_module
from batchgrad_service.web.forms import form_fields
from tests.service.building import body, npz, problem, push, submit
from tests.service.conftest import Bench
from tests.service.inline_questions import InlineQuestions

Make = Callable[..., Bench]


def test_many_invalid_fields_are_counted_quickly(http: TestClient) -> None:
    unknown: dict[str, Any] = {f"x{number}": 0 for number in range(16_000)}
    before = perf_counter()
    found = problem(http.post("/v1/jobs", json=body(**unknown)), 422)
    assert perf_counter() - before < 5  # 0.1 s; it was 36
    assert len(found["errors"]) == MOST_ERRORS + 1
    rest = found["errors"][-1]["detail"]
    assert rest.startswith(f"{16_000 - MOST_ERRORS} other fields are wrong as well")


def test_an_error_in_a_union_names_the_intended_member(http: TestClient) -> None:
    found = problem(http.post("/v1/jobs", json=body(workers={"min": 1, "max": "x"})), 422)
    assert [error["pointer"] for error in found["errors"]] == ["/workers/max"]


def test_the_table_of_class_weights_is_limited(http: TestClient) -> None:
    archive = npz(inputs=np.zeros((2, 3), "float32"), targets=np.array([0, 2**31 - 2]))
    assert http.put("/v1/datasets/far", content=archive).status_code == 201
    job = body(
        dataset="far",
        loss="squared_error",
        model={"layers": [{"kind": "linear", "out_features": 1}]},
        class_weights="balanced",
    )
    [error] = problem(http.post("/v1/jobs", json=job), 422)["errors"]
    assert error["pointer"] == "/class_weights"
    assert f"has class {2**31 - 2}; at most 1048576 classes" in error["detail"]


JSON = {"content-type": "application/json"}
SURROGATE = "\ud800"
LONG = "x" * 1_000_000


@pytest.mark.parametrize(
    "changes",
    [
        {"initial_parameters": {"job": SURROGATE}},
        {"initial_parameters": {"safetensors": SURROGATE}},
        {"labels": {SURROGATE: "x"}},
        {"labels": {"a": SURROGATE}},
        {"model": {"layers": [{"kind": SURROGATE}]}},
        {"optimizer": {"kind": "sgd", SURROGATE: {"x": 1}}},
        {"class_weights": {SURROGATE: 1.0}},
        {SURROGATE: 1},
        {"initial_parameters": {"job": LONG}},
        {"labels": {LONG: "x"}},
        {"labels": {"a": LONG}},
        {"class_weights": {"1" * 4000: 1.0}},
        {LONG: LONG},
    ],
)
def test_invalid_text_is_named_and_long_text_cut(http: TestClient, changes: dict[Any, Any]) -> None:
    push(http)
    found = problem(http.post("/v1/jobs", content=json.dumps(body(**changes)), headers=JSON), 422)
    assert len(json.dumps(found)) < 2000
    assert found["errors"]


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        (b'{"seed": 1, "seed": 2}', "The body has the key 'seed' twice: remove one"),
        (b'{"seed": ' + b"9" * 4301 + b"}", "The body is not valid JSON: Exceeds the limit"),
        (b"[" * 100_000, "The body is nested too deep"),
        (b'{"\xff": 1}', "The body is not valid JSON: 'utf-8' codec"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/gradients"])
def test_ambiguous_json_is_refused(http: TestClient, path: str, text: bytes, detail: str) -> None:
    assert detail in problem(http.post(path, content=text, headers=JSON), 400)["detail"]


def test_the_body_of_a_login_is_limited(make_bench: Make, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("0123456789abcdef-token")
    http = make_bench(token_file=tmp_path / "token").http
    form = {"content-type": "application/x-www-form-urlencoded"}
    answer = http.post("/login", content=b"a=b&" * 5000, headers=form)
    assert "longer than 16384 bytes" in problem(answer, 413)["detail"]
    assert http.post("/login", content=b"a=b&" * 100, headers=form).status_code == 400


def test_other_bodies_are_limited_too(http: TestClient) -> None:
    push(http)
    problem(http.post("/v1/jobs/none/cancel", content=b"x" * 20_000), 413)
    problem(http.post("/submit", content=b"x" * 1_300_000), 413)


def test_a_form_must_arrive_in_time() -> None:
    async def never() -> Any:
        await asyncio.sleep(3600)

    request = Request({"type": "http", "method": "POST", "headers": []}, never)
    with pytest.raises(BadRequestError, match="did not arrive within"):
        asyncio.run(form_fields(request, seconds=0.01))


FAR = {"kind": "conv2d", "out_channels": 1, "kernel_size": 300, "padding": 225}
CONVOLUTION = {"layers": [FAR, {"kind": "flatten"}, {"kind": "linear", "out_features": 1}]}
PATCHES = 152**2 * (300**2 + 1)


def question(*layers: dict[str, Any], **changes: Any) -> dict[str, Any]:
    model = {"layers": [*layers, {"kind": "linear", "out_features": 1}]}
    return {"model": model, "loss": "squared_error", "inputs": [[1]], "targets": [0], **changes}


@pytest.mark.parametrize(
    ("question", "detail"),
    [
        (
            question(inputs=[[[[1]]]], model=CONVOLUTION),
            f"{PATCHES + 90_001 + 152**2} numbers in patches of a convolution",
        ),
        (
            question(*[{"kind": "linear", "out_features": 2**20}] * 2),
            "The response would have 5 gradients",
        ),
        (question({"kind": "linear", "out_features": 300_000}, *[{"kind": "gelu"}] * 200), "60"),
        (
            question(
                {"kind": "embedding", "num_embeddings": 2**24, "embedding_dim": 1},
                {"kind": "flatten"},
                inputs=[[0]],
            ),
            "The shortcuts average",
        ),
        (
            question(inputs=[[1]] * 20_000, targets=[0] * 20_000, per_example=True),
            None,
        ),
        (
            question(
                {"kind": "linear", "out_features": 100},
                inputs=[[1]] * 20_000,
                targets=[0] * 20_000,
                per_example=True,
            ),
            "or set per_example: false",
        ),
    ],
)
def test_the_size_of_a_gradients_request_is_checked_first(
    http: TestClient, question: dict[str, Any], detail: str | None
) -> None:
    answer = http.post("/v1/gradients", json=question)
    if detail is None:
        assert answer.status_code == 200
    else:
        assert detail in problem(answer, 422)["detail"]


def test_a_plan_counts_the_memory_of_patches(http: TestClient, monkeypatch: Any) -> None:
    images = np.zeros((20, 1, 1, 1), "float32")
    http.put("/v1/datasets/dots", content=npz(inputs=images, targets=np.zeros(20, "float32")))
    job = body(dataset="dots", loss="squared_error", model=CONVOLUTION)
    monkeypatch.setattr(memory, "machine_bytes", lambda: 10 * 2**30)
    monkeypatch.setattr(plan_module, "machine_bytes", lambda: 10 * 2**30)
    plan = http.post("/v1/plans", json=job).json()
    assert 4 * PATCHES < plan["memory_bytes"] < 4.1 * PATCHES
    assert any("A step needs about 7." in warning for warning in plan["warnings"])
    monkeypatch.setattr(memory, "machine_bytes", lambda: 2**30)
    assert "need about 8 GiB" in problem(http.post("/v1/jobs", json=job), 422)["detail"]


def test_the_memory_limit_of_a_container_counts(tmp_path: Path) -> None:
    machine = memory.machine_bytes([tmp_path / "none"])
    for content, right in (("1073741824\n", 2**30), ("max\n", machine), (f"{2**62}\n", machine)):
        (tmp_path / "limit").write_text(content)
        assert memory.machine_bytes([tmp_path / "none", tmp_path / "limit"]) == right


def test_a_large_example_is_returned_as_npy_only(http: TestClient, monkeypatch: Any) -> None:
    inputs = np.arange(30, dtype="float32").reshape(10, 3)
    http.put("/v1/datasets/digits", content=npz(inputs=inputs, targets=np.arange(10) % 2))
    job = submit(http)
    monkeypatch.setattr(examples, "MAX_NUMBERS", 3)
    monkeypatch.setattr(examples, "CHUNK_BYTES", 8)
    for file_format in ("json", "png"):
        answer = http.get(f"/v1/jobs/{job.id}/examples/2?format={file_format}")
        assert "An example has 4 numbers" in problem(answer, 422)["detail"]
    answer = http.get(f"/v1/jobs/{job.id}/examples/2?format=npy")
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert np.load(BytesIO(answer.content)).tolist() == inputs[2].tolist()


def test_large_datasets_and_specs_are_checked_in_another_process(
    make_bench: Make, monkeypatch: Any
) -> None:
    questions = InlineQuestions()
    http = make_bench(questions=questions).http
    push(http)
    assert http.post("/v1/jobs", json=body()).status_code == 201
    assert questions.kinds == []
    monkeypatch.setattr(dependencies, "SMALL_SPEC_BYTES", 10)
    monkeypatch.setattr(dependencies, "SMALL_DATA_BYTES", 10)
    assert http.post("/v1/jobs", json=body()).status_code == 201
    assert questions.kinds == ["spec", "plan"]


def test_the_bodies_of_all_requests_are_limited_together() -> None:
    bodies = BodyBuffer(1000)

    def request(*pieces: bytes) -> Request:
        messages = [{"type": "http.request", "body": each, "more_body": True} for each in pieces]
        coming = iter([*messages, {"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> Any:
            return next(coming)

        return Request({"type": "http", "method": "POST", "headers": []}, receive)

    async def read() -> None:
        async with bodies.json(request(b"x" * 600, b"x" * 600)) as alone:
            assert len(alone) == 1200
            with pytest.raises(UnavailableError):
                async with bodies.json(request(b"x")):
                    pass
        async with bodies.json(request(b"x" * 600)), bodies.json(request(b"x" * 400)):
            with pytest.raises(UnavailableError):
                async with bodies.json(request(b"x")):
                    pass
        assert bodies._held_bytes == 0

    asyncio.run(read())
