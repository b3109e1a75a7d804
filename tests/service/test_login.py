"""Logins of browsers, wrong tokens, and requests from other sites."""

from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.responses import Response
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from batchgrad_service.http.authenticator import LOGIN_SECONDS, MAX_LOGINS, Authenticator
from tests.service.building import create, problem
from tests.service.conftest import Bench

Make = Callable[..., Bench]
TOKEN = "0123456789abcdef-token"  # noqa: S105 - opens nothing but this test
PAGE = {"accept": "text/html,*/*"}


@pytest.fixture
def guarded(make_bench: Make, tmp_path: Path) -> Bench:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    return make_bench(token_file=file)


def log_in(http: TestClient, token: str = TOKEN, **fields: str) -> str:
    """The path to which a login redirects."""
    answer = http.post("/login", data={"token": token, **fields}, follow_redirects=False)
    assert answer.status_code == 303
    return answer.headers["location"]


def test_a_browser_logs_in_and_returns_to_its_page(guarded: Bench) -> None:
    http = guarded.http
    answer = http.get("/jobs/a?b=c%26d", headers=PAGE, follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == "../login?next=%2Fjobs%2Fa%3Fb%3Dc%2526d"
    form = http.get(answer.headers["location"].removeprefix(".."))
    assert 'name="next" value="/jobs/a?b=c%26d"' in form.text
    assert log_in(http, next="/jobs/a?b=c%26d") == "./jobs/a?b=c%26d"
    assert http.get("/", headers=PAGE).status_code == 200
    assert http.get("/v1/jobs").status_code == 200
    assert "Log out" in http.get("/", headers=PAGE).text


def test_other_clients_get_a_problem_instead(guarded: Bench) -> None:
    problem(guarded.http.get("/"), 401)
    problem(guarded.http.post("/submit", headers=PAGE), 401)
    assert guarded.http.get("/static/style.css").status_code == 200


def test_scripts_and_other_sites_cannot_use_the_cookie(guarded: Bench) -> None:
    answer = guarded.http.post("/login", data={"token": TOKEN}, follow_redirects=False)
    cookie = answer.headers["set-cookie"]
    parts = cookie.lower().split("; ")
    assert {"httponly", "samesite=strict"} <= set(parts)
    assert "path" not in cookie.lower()  # the browser's own: below the prefix of a proxy
    assert "secure" not in parts
    assert TOKEN not in cookie
    over_tls = guarded.http.post(
        "https://127.0.0.1/login", data={"token": TOKEN}, follow_redirects=False
    )
    assert "secure" in over_tls.headers["set-cookie"].lower().split("; ")


def test_a_wrong_token_or_cookie_gives_no_access(guarded: Bench) -> None:
    http = guarded.http
    for token in ("", "wrong", TOKEN[:-1], "ünïcode"):
        refused = http.post("/login", data={"token": token})
        assert refused.status_code == 401
        assert "not the token of this service" in refused.text
        assert "set-cookie" not in refused.headers
    log_in(http)
    [(name, value)] = http.cookies.items()
    http.cookies.clear()
    for odd in (f"{name}=", f"{name}={value[:-1]}", f"{name}={TOKEN}", f"other={value}", "\x01=;"):
        problem(http.get("/v1/jobs", headers={"cookie": odd}), 401)


def test_a_new_token_ends_logins_with_the_old_one(make_bench: Make, tmp_path: Path) -> None:
    cookies = []
    for number in range(2):
        file = tmp_path / f"token-{number}"
        file.write_text(f"{number}-{TOKEN}")
        http = make_bench(token_file=file).http
        log_in(http, f"{number}-{TOKEN}")
        cookies.append(http.cookies)
        assert http.get("/v1/jobs").status_code == 200
    http.cookies.clear()
    http.cookies.update(cookies[0])
    problem(http.get("/v1/jobs"), 401)


def test_logging_out_ends_only_this_login(guarded: Bench) -> None:
    http = guarded.http
    cookies = []
    for _ in range(2):
        log_in(http)
        cookies.append("; ".join(f"{name}={value}" for name, value in http.cookies.items()))
        http.cookies.clear()
    assert cookies[0] != cookies[1]
    answer = http.post("/logout", headers={"cookie": cookies[0]})
    assert "Log in" in answer.text
    problem(http.get("/v1/jobs", headers={"cookie": cookies[0]}), 401)
    assert http.get("/v1/jobs", headers={"cookie": cookies[1]}).status_code == 200


def test_logins_expire_and_are_limited() -> None:
    now = 0.0
    auth = Authenticator(TOKEN, clock=lambda: now)

    def begun() -> str:
        response = Response()
        auth.log_in(response, secure=False)
        return response.headers["set-cookie"].partition(";")[0]

    first = begun()
    now = LOGIN_SECONDS - 1.0
    second = begun()
    assert auth.is_logged_in(first)
    now = LOGIN_SECONDS + 1.0
    assert (auth.is_logged_in(first), auth.is_logged_in(second)) == (False, True)
    newer = [begun() for _ in range(MAX_LOGINS)]
    assert [auth.is_logged_in(one) for one in (second, newer[0], newer[-1])] == [
        False,
        True,
        True,
    ]


def test_wrong_tokens_are_throttled_and_logged(guarded: Bench) -> None:
    http = guarded.http
    with capture_logs() as logged:
        answers = [http.post("/login", data={"token": f"guess {n}"}) for n in range(8)]
        bearers = [http.get("/v1/jobs", headers={"Authorization": f"Bearer {n}"}) for n in range(8)]
    assert [answer.status_code for answer in answers] == [401] * 8
    assert [answer.status_code for answer in bearers] == [401] * 2 + [429] * 6
    assert problem(bearers[-1], 429)["code"] == "too_many_attempts"
    assert bearers[-1].headers["retry-after"] == "10"
    warned = [line for line in logged if line["log_level"] == "warning"]
    assert [line["client"] for line in warned] == ["testclient"] * 11
    problem(http.get("/v1/jobs", headers={"Authorization": f"Bearer {TOKEN}"}), 429)
    assert "Too many wrong tokens" in http.post("/login", data={"token": TOKEN}).text


@pytest.mark.parametrize(
    "there", ["//evil.example", "https://evil.example", "/\\evil", "x", "/\n/e", "/../x"]
)
def test_the_login_redirects_to_no_other_host(guarded: Bench, there: str) -> None:
    assert log_in(guarded.http, next=there) == "./"


def test_without_a_token_there_is_no_login(bench: Bench) -> None:
    assert "Log out" not in bench.http.get("/").text
    for answer in (bench.http.get("/login"), bench.http.post("/login"), bench.http.post("/logout")):
        assert (answer.status_code, answer.url.path) == (200, "/")


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": "http://127.0.0.1:81"},
        {"sec-fetch-site": "cross-site", "origin": "http://127.0.0.1"},
        {"origin": "http://evil.example"},
        {"origin": "http://127.0.0.1:81"},
        {"origin": "null"},
        {"origin": "http://[::1"},
        {"sec-fetch-site": "same-origin", "origin": "http://[evil.example]"},
        {"sec-fetch-site": "same-origin", "origin": "http://evil.example"},
        {"sec-fetch-site": "same-origin", "origin": "null"},
        {"sec-fetch-site": "none", "origin": "http://127.0.0.1:81"},
    ],
)
@pytest.mark.parametrize("with_token", [False, True])
def test_requests_from_another_site_are_refused(
    make_bench: Make, tmp_path: Path, headers: dict[str, str], with_token: bool
) -> None:
    changes = {}
    if with_token:
        changes["token_file"] = tmp_path / "token"
        changes["token_file"].write_text(TOKEN)
    bench = make_bench(**changes)
    if with_token:
        log_in(bench.http)
    job_id = create(bench.store).id
    paths = (f"/v1/jobs/{job_id}/cancel", "/v1/jobs", "/submit", "/login", "/logout")
    for path in paths:
        refused = problem(bench.http.post(path, headers=headers), 403)
        assert refused["code"] == "other_site"
    problem(bench.http.delete(f"/v1/jobs/{job_id}", headers=headers), 403)
    assert bench.store.job(job_id).status == "queued"
    assert bench.http.get("/v1/jobs", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "same-origin", "origin": "http://127.0.0.1"},
        {"sec-fetch-site": "none"},
        {"origin": "http://127.0.0.1"},
        {},
    ],
)
def test_requests_from_the_own_page_and_from_programs_are_allowed(
    bench: Bench, headers: dict[str, str]
) -> None:
    job_id = create(bench.store).id
    assert bench.http.post(f"/v1/jobs/{job_id}/cancel", headers=headers).status_code == 202
    assert bench.store.job(job_id).status == "cancelled"
