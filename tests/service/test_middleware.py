"""Access, request ids, errors and the routes without a test file of their own."""

import errno
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from batchgrad_service.problems import InvalidError
from tests.service.building import body, npz, problem, push
from tests.service.conftest import Bench
from tests.service.inline_questions import InlineQuestions

JSON = {"content-type": "application/json"}
TOKEN = "0123456789abcdef-token"  # noqa: S105 - opens nothing but this test
Make = Callable[..., Bench]


@pytest.fixture
def guarded(make_bench: Make, tmp_path: Path) -> TestClient:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    return make_bench(token_file=file).http


def test_docs_show_formulas_ranges_and_defaults(http: TestClient) -> None:
    page = http.get("/docs").text
    for text in (
        "<code>squared_error</code> Σ (f − y)², without a hidden ½",
        "has no minimum and can be negative",
        "Targets (n,): classes, at least 0.",
        "Targets (n, outputs): probabilities, 0 to 1.",
        "<code>out_features</code> integer 1 to 1048576, <b>required</b>.",
        "<code>validation_fraction</code> number ≥ 0, &lt; 1, default 0.0.",
        "<code>optimizer</code>",
        "<code>limit</code> (query) integer 1 to 1000, default 50.",
        # conventions, at the fields that they are of
        "of the examples, rounded down, drawn by seed",
        "step t of W has t/W of the learning rate: the first has 1/W, not 0",
        "that the last one&#39;s is a little above <code>final_fraction</code>",
        "torch adds 1e-6 to the norm that it divides by",
        "also in the validation loss (not so in Keras), not in the accuracy",
        "where all its outputs are on the right side",
        "its step counts as a whole one",
        "everywhere: torch takes a itself above 20",
        "Weight decay acts on that row too",
        "momentum, averages and decay do not change either",
        "<code>which</code> (query)",
    ):
        assert text in page, text


def test_access_needs_the_token(guarded: TestClient) -> None:
    missing, wrong = "The request has no token: ", "The token is wrong: "
    for authorization, fact in {
        "": missing,
        "Bearer ": missing,
        TOKEN: missing,
        "Bearer wrong": wrong,
    }.items():
        answer = guarded.get("/v1/jobs", headers={"Authorization": authorization})
        detail = problem(answer, 401)["detail"]
        assert detail.startswith(fact)
        assert "BATCHGRAD_TOKEN" in detail
        assert answer.headers["www-authenticate"] == "Bearer"
    assert guarded.get("/v1/jobs", headers={"Authorization": f"bearer {TOKEN}"}).is_success
    for path in ("/healthz", "/readyz"):
        assert guarded.get(path).status_code == 200
    for path in ("/metrics", "/docs", "/openapi.json", "/"):
        problem(guarded.get(path), 401)


def test_a_valid_request_id_is_kept(http: TestClient) -> None:
    assert http.get("/healthz", headers={"X-Request-ID": "a-1"}).headers["x-request-id"] == "a-1"
    for odd in ("a b", "x" * 65, ""):
        answer = http.get("/v1/jobs/none", headers={"X-Request-ID": odd})
        assert problem(answer, 404)["request_id"] != odd


def test_unknown_paths_and_methods(http: TestClient) -> None:
    assert "/docs" in problem(http.get("/nothing"), 404)["detail"]
    answer = http.delete("/v1/version")
    assert problem(answer, 405)["code"] == "method_not_allowed"
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


def test_a_browser_gets_a_page_for_an_unknown_path(http: TestClient) -> None:
    browser = {"accept": "text/html,*/*;q=0.8"}
    answer = http.get("/jobs/none/nothing", headers=browser)
    assert answer.status_code == 404
    assert "<h1>Not found</h1>" in answer.text
    assert 'href="../../static/style.css"' in answer.text
    assert "No route has the path /jobs/none/nothing" in answer.text
    slash = http.get("/submit/", headers=browser, follow_redirects=False)
    assert slash.headers["location"] == "../submit"


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/jobs", "GET, HEAD, OPTIONS, POST"),
        ("/v1/jobs/job_1", "DELETE, GET, HEAD, OPTIONS"),
        ("/v1/datasets/d", "DELETE, GET, HEAD, OPTIONS, PUT"),
        ("/v1/gradients", "OPTIONS, POST"),
        ("/login", "GET, HEAD, OPTIONS, POST"),
        ("/static/style.css", "GET, HEAD, OPTIONS"),
    ],
)
def test_allow_lists_all_methods_of_a_path(http: TestClient, path: str, allowed: str) -> None:
    answer = http.options(path)
    assert (answer.status_code, answer.headers["allow"], answer.content) == (204, allowed, b"")
    assert http.patch(path).headers["allow"] == allowed
    problem(http.options("/nothing"), 404)


def test_head_is_get_without_its_body(bench: Bench) -> None:
    http = bench.http
    push(http)
    job = http.post("/v1/jobs", json=body()).json()["id"]
    found = {"/v1/jobs/none": 404, f"/v1/jobs/{job}/events": 200, "/v1/gradients": 405}
    paths = ("/", "/healthz", "/readyz", "/metrics", "/v1/version", "/v1/jobs", "/static/style.css")
    for path, status in (found | dict.fromkeys((*paths, f"/jobs/{job}", "/docs"), 200)).items():
        with capture_logs() as logged:
            head = http.head(path)  # of events, which do not end before the job does
        assert not [line for line in logged if line["event"] != "request"], path
        assert (head.status_code, head.content) == (status, b""), path
        if status == 200 and not path.endswith("events"):
            got = http.get(path)
            assert head.headers["content-type"] == got.headers["content-type"]
            if path != "/metrics":
                assert head.headers["content-length"] == got.headers["content-length"], path


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"{", JSON, 400),
        (b"\xff\xfe{}", JSON, 400),
        (b"[" * 100_000, JSON, 400),
        (b'{"batch_size": ' + b"9" * 5000 + b"}", JSON, 400),
        (b"{}", {"content-type": "text/plain"}, 415),
        (b"", JSON, 422),
        (b"[]", JSON, 422),
        (b"null", JSON, 422),
        (b'"text"', JSON, 422),
        (b"NaN", JSON, 422),
    ],
)
@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/gradients"])
def test_invalid_bodies_are_refused(
    http: TestClient, path: str, content: bytes, headers: dict[str, str], status: int
) -> None:
    problem(http.post(path, content=content, headers=headers), status)


def test_too_long_bodies_are_refused_with_and_without_content_length(make_bench: Make) -> None:
    http = make_bench(max_request_bytes=1024, max_dataset_bytes=2048).http

    def in_pieces() -> Iterator[bytes]:
        for _ in range(2000):
            yield b" " * 1000

    long = http.post("/v1/jobs", content=b" " * 1025, headers=JSON)
    assert "max_request_bytes" in problem(long, 413)["detail"]
    problem(http.post("/v1/gradients", content=in_pieces(), headers=JSON), 413)
    problem(http.put("/v1/datasets/d", content=in_pieces()), 413)
    push(http)


def test_a_too_large_dataset_leaves_no_file(make_bench: Make) -> None:
    bench = make_bench(max_dataset_bytes=1024)
    answer = bench.http.put("/v1/datasets/d", content=b"x" * (2**20 + 1025))
    problem(answer, 413)
    assert list((bench.data_dir / "uploads").iterdir()) == []


def test_an_internal_error_is_logged_and_not_shown(make_bench: Make) -> None:
    def broken(_body: bytes) -> bytes:
        raise RuntimeError("secret")

    http = make_bench(questions=InlineQuestions(broken)).http
    body = {
        "model": {"layers": [{"kind": "linear", "out_features": 1}]},
        "loss": "squared_error",
        "inputs": [[1.0]],
        "targets": [1.0],
    }
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logged:
        answer = http.post("/v1/gradients", json=body)
    found = problem(answer, 500)
    [failure] = [line for line in logged if line["event"] == "request failed"]
    assert failure["exc_info"]
    assert failure["request_id"] == found["request_id"]
    assert "secret" not in answer.text
    assert found["request_id"] in found["detail"]
    assert http.get("/healthz").status_code == 200


def test_an_exhausted_machine_gives_503(make_bench: Make) -> None:
    def exhausted(_body: bytes) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files")

    body = {
        "model": {"layers": [{"kind": "linear", "out_features": 1}]},
        "loss": "squared_error",
        "inputs": [[1.0]],
        "targets": [1.0],
    }
    with capture_logs() as logged:
        answer = make_bench(questions=InlineQuestions(exhausted)).http.post(
            "/v1/gradients", json=body
        )
    assert "open files" in problem(answer, 503)["detail"]
    assert answer.headers["retry-after"] == "2"
    [failure] = [line for line in logged if line["event"] == "request failed"]
    assert "exc_info" not in failure


def test_a_problem_keeps_its_fields(make_bench: Make) -> None:
    def refuse(_body: bytes) -> bytes:
        raise InvalidError.field("/inputs", "inputs[0] is odd: make it even.", code="odd")

    body = {
        "model": {"layers": [{"kind": "relu"}]},
        "loss": "squared_error",
        "inputs": [[1.0]],
        "targets": [1.0],
    }
    found = problem(
        make_bench(questions=InlineQuestions(refuse)).http.post("/v1/gradients", json=body), 422
    )
    assert found["code"] == "odd"
    assert found["errors"] == [{"pointer": "/inputs", "detail": "inputs[0] is odd: make it even."}]


def test_gradients_are_computed(http: TestClient) -> None:
    body = {
        "model": {"layers": [{"kind": "linear", "out_features": 1}, {"kind": "sigmoid"}]},
        "loss": "linear_error",
        "inputs": [[0.0], [1.0]],
        "targets": [0.0, 0.0],
        "parameters": {"0.weight": [[1.0]], "0.bias": [0.0]},
    }
    answer = http.post("/v1/gradients", json=body)
    assert answer.status_code == 200
    assert answer.json()["mean_gradient"]["0.bias"][0] == pytest.approx(-0.2233, abs=1e-4)
    for value in ("NaN", "Infinity"):
        text = answer.request.content.decode().replace("[1.0]]", f"[{value}]]", 1)
        problem(http.post("/v1/gradients", content=text, headers=JSON), 422)
    [error] = problem(http.post("/v1/gradients", json=body | {"update": "x"}), 422)["errors"]
    assert "unknown key 'update': remove it, or use one of model, loss," in error["detail"]
    assert "dataset" not in error["detail"]


def test_datasets_over_http(bench: Bench) -> None:
    http = bench.http
    stored = push(http)
    assert http.get("/v1/datasets/digits").json() == stored
    assert http.get("/v1/datasets").json() == {"data": [stored], "next": None}
    assert problem(http.put("/v1/datasets/digits", content=b"no"), 422)["code"] == "not_npz"
    other = npz(inputs=[[1.0], [2.0]], targets=[1.0, 2.0])
    assert problem(http.put("/v1/datasets/digits", content=other), 409)["code"] == "dataset_exists"
    replaced = http.put("/v1/datasets/digits?replace=true", content=other)
    assert (replaced.status_code, replaced.json()["target_kind"]) == (200, "values")
    assert http.put("/v1/datasets/digits", content=other).status_code == 200
    problem(http.put("/v1/datasets/..", content=other), 404)
    problem(http.put("/v1/datasets/-x", content=other), 422)
    problem(http.put("/v1/datasets/x", content=b"{}", headers=JSON), 422)  # an ImportRequest
    form = {"content-type": "multipart/form-data; boundary=x"}
    problem(http.put("/v1/datasets/x", content=b"--x--", headers=form), 415)
    assert http.delete("/v1/datasets/digits").status_code == 204
    problem(http.get("/v1/datasets/digits"), 404)


def test_readiness_is_that_of_the_supervisor(bench: Bench) -> None:
    assert bench.http.get("/readyz").status_code == 200
    bench.supervisor.is_ready = False
    assert problem(bench.http.get("/readyz"), 503)["code"] == "not_ready"


def test_the_docs_use_no_other_host(http: TestClient) -> None:
    page = http.get("/docs")
    assert page.status_code == 200
    assert "/v1/jobs/{job_id}/events" in page.text
    for word in ("http://", "https://", "style=", "<style", "onclick"):
        assert word not in page.text
    assert re.findall("<script[^>]*>(.*?)</script>", page.text, re.DOTALL) == ["", "", ""]
    assert page.headers["content-security-policy"].startswith("default-src 'self'; ")


def test_caches_store_no_response_of_the_api(bench: Bench) -> None:
    push(bench.http)
    for path in ("/v1/jobs", "/v1/datasets/digits", "/v1/jobs/none", "/docs", "/metrics"):
        assert bench.http.get(path).headers["cache-control"] == "no-store"


def test_version(http: TestClient) -> None:
    found = http.get("/v1/version").json()
    assert found["api"] == "1"
    assert found["cpu_architecture"]
