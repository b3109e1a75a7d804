"""/v1/jobs/{id}/events over HTTP."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx2
import pytest
import uvicorn

from batchgrad.contract import Event
from batchgrad_engine.messages import EngineEvent
from tests.service.building import create, problem, report, row, started
from tests.service.conftest import Bench

PATIENCE_SECONDS = 30.0
NO_KEEP_ALIVE = 100 * PATIENCE_SECONDS
"""A stream that stays silent for too long is a client's ReadTimeout."""


class Listening(uvicorn.Server):
    """A server in a thread, with its own port."""

    def __init__(self, app: Any) -> None:
        super().__init__(uvicorn.Config(app, port=0, log_config=None, lifespan="off", ws="none"))
        self.thread = threading.Thread(target=self.run)

    def url(self) -> str:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.started:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        return f"http://127.0.0.1:{self.servers[0].sockets[0].getsockname()[1]}"


Live = Callable[[float], tuple[Bench, httpx2.Client]]


@pytest.fixture
def live(make_bench: Callable[..., Bench]) -> Iterator[Live]:
    """Run a bench behind a real server: the test client would buffer a stream until its end.

    Takes the seconds between keep-alives.
    """
    with ExitStack() as stack:

        def serve(keep_alive_seconds: float) -> tuple[Bench, httpx2.Client]:
            bench = make_bench(keep_alive_seconds=keep_alive_seconds, max_request_bytes=100_000)
            server = Listening(bench.app)
            server.thread.start()
            stack.callback(server.thread.join)
            stack.callback(setattr, server, "should_exit", True)
            stack.callback(bench.shutdown.begin)
            client = httpx2.Client(base_url=server.url(), timeout=PATIENCE_SECONDS)
            return bench, stack.enter_context(client)

        yield serve


def frames(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    """The fields of each event; comments are {"": text}."""
    frame: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            frame[name] = value
        elif frame:
            yield frame
            frame = {}


def events(lines: Iterator[str]) -> Iterator[Event]:
    for frame in frames(lines):
        if "data" in frame:
            event = Event.model_validate_json(frame["data"])
            assert frame["id"] == str(event.seq)
            assert frame["event"] == event.type
            yield event


def test_events_of_a_finished_job_start_after_any_event(bench: Bench) -> None:
    job_id, attempt = started(bench.store)
    bench.store.record_report(job_id, attempt, report(row(1)))
    bench.store.transition(job_id, to="failed", allowed=["running"], reason="nonfinite")
    url = f"/v1/jobs/{job_id}/events"
    answer = bench.http.get(url)
    assert answer.headers["content-type"].startswith("text/event-stream")
    received = list(events(iter(answer.text.splitlines())))
    assert [event.seq for event in received] == list(range(1, 8))
    assert [event.type for event in received][-3:] == ["progress", "state", "end"]
    rest = bench.http.get(url, headers={"Last-Event-ID": "5"}).text
    assert [event.seq for event in events(iter(rest.splitlines()))] == [6, 7]
    assert bench.http.get(url, headers={"Last-Event-ID": "7"}).text == ""
    problem(bench.http.get(url, headers={"Last-Event-ID": "x"}), 400)
    problem(bench.http.get("/v1/jobs/nothing/events"), 404)


def test_events_are_also_a_list(bench: Bench) -> None:
    job = create(bench.store)
    url = f"/v1/jobs/{job.id}/events"
    headers = {"Accept": "application/json"}
    first = bench.http.get(url, params={"limit": 1}, headers=headers).json()
    assert [event["type"] for event in first["data"]] == ["state"]
    rest = bench.http.get(url, params={"after": first["next"]}, headers=headers).json()
    assert [event["type"] for event in rest["data"]] == ["plan"]
    assert rest["next"] is None
    problem(bench.http.get("/v1/jobs/nothing/events", headers=headers), 404)
    problem(bench.http.get(url, params={"after": 2**63}, headers=headers), 422)


def test_an_event_is_sent_at_once_and_the_stream_ends_with_the_job(live: Live) -> None:
    bench, client = live(NO_KEEP_ALIVE)
    job_id, attempt = started(bench.store)
    with client.stream("GET", f"/v1/jobs/{job_id}/events") as answer:
        received = events(answer.iter_lines())
        assert [next(received).type for _ in range(4)] == ["state", "plan", "state", "state"]
        bench.store.record_event(job_id, attempt, EngineEvent(event="warning", data={"text": "é"}))
        assert next(received).data == {"text": "é"}
        bench.store.transition(job_id, to="succeeded", allowed=["running"])
        assert [event.type for event in received] == ["state", "end"]


def test_a_silent_stream_is_kept_alive(live: Live) -> None:
    bench, client = live(0.02)
    job_id, _ = started(bench.store)
    with client.stream("GET", f"/v1/jobs/{job_id}/events", params={"after": 4}) as answer:
        received = frames(answer.iter_lines())
        assert [next(received), next(received)] == [{"": "keep-alive"}] * 2


def test_a_silent_stream_ends_when_the_service_stops(live: Live) -> None:
    bench, client = live(NO_KEEP_ALIVE)
    job_id, _ = started(bench.store)
    with client.stream("GET", f"/v1/jobs/{job_id}/events") as answer:
        received = frames(answer.iter_lines())
        for _ in range(4):
            next(received)
        bench.shutdown.begin()
        assert list(received) == []


def test_a_stream_ends_when_its_job_is_deleted(live: Live) -> None:
    bench, client = live(0.05)
    job_id, _ = started(bench.store)
    with client.stream("GET", f"/v1/jobs/{job_id}/events", params={"after": 4}) as answer:
        received = frames(answer.iter_lines())
        assert next(received) == {"": "keep-alive"}
        bench.store.transition(job_id, to="succeeded")
        bench.store.delete_job(job_id)
        list(received)  # returns


def test_a_disconnected_client_leaves_no_subscription(live: Live) -> None:
    bench, client = live(NO_KEEP_ALIVE)
    job_id, _ = started(bench.store)
    with client.stream("GET", f"/v1/jobs/{job_id}/events") as answer:
        lines = answer.iter_lines()  # held: without it the client would leave at once
        next(lines)
        assert bench.store._listeners
    deadline = time.monotonic() + PATIENCE_SECONDS
    while bench.store._listeners:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_refused_upload_gets_its_response_from_a_real_server(live: Live) -> None:
    _, client = live(NO_KEEP_ALIVE)
    headers = {"content-type": "application/json"}
    for content in (b" " * 5_000_000, iter([b" " * 1000] * 5000)):
        problem(client.post("/v1/jobs", content=content, headers=headers), 413)


def test_steps_are_paged_or_thinned(bench: Bench) -> None:
    job_id, attempt = started(bench.store)
    bench.store.record_report(job_id, attempt, report(*(row(step) for step in range(1, 11))))
    url = f"/v1/jobs/{job_id}/steps"
    first = bench.http.get(url, params={"limit": 6}).json()
    rest = bench.http.get(url, params={"limit": 6, "after": first["next"]}).json()
    assert [step["step"] for step in first["data"] + rest["data"]] == list(range(1, 11))
    assert rest["next"] is None
    assert first["data"][0] == json.loads(row(1).model_dump_json())
    thinned = bench.http.get(url, params={"max_points": 4}).json()["data"]
    assert [step["step"] for step in thinned] == [1, 4, 7, 10]
    thinned = bench.http.get(url, params={"max_points": 4, "after": 3}).json()["data"]
    assert [step["step"] for step in thinned] == [4, 6, 8, 10]
    problem(bench.http.get("/v1/jobs/nothing/steps"), 404)
