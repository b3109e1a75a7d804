"""Following a job: event streams that break, and waiting with timeouts."""

import json
import pickle
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import httpx2
import pytest

from batchgrad import errors


def stream(*events: dict[str, Any], broken: bool = False) -> httpx2.Response:
    """An event stream with these events, which may break off after them."""
    headers = {"Content-Type": "text/event-stream"}
    return httpx2.Response(200, stream=Stream(events, broken=broken), headers=headers)


class Stream(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """The bytes of an event stream, for both clients."""

    def __init__(self, events: Sequence[dict[str, Any]], *, broken: bool) -> None:
        self.events, self.broken = events, broken

    def __iter__(self) -> Iterator[bytes]:
        yield b": hello\n\n"
        for event in self.events:
            text = f"id: {event['seq']}\nevent: {event['type']}\ndata: {json.dumps(event)}\n\n"
            yield text.encode()
        if self.broken:
            raise httpx2.ReadError("reset")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece


def event(kit: Any, seq: int, kind: str = "progress") -> dict[str, Any]:
    return {"seq": seq, "time": kit.TIME, "type": kind, "data": {"step": seq}}


def test_a_broken_stream_continues_after_the_last_event(kit: Any) -> None:
    script = kit.Script(
        stream(event(kit, 1), event(kit, 2), broken=True),
        httpx2.ConnectError("refused"),
        kit.answer(503),
        stream(event(kit, 2), event(kit, 3)),  # repeats one, then ends too early
        stream(event(kit, 4), event(kit, 5, "end"), event(kit, 6)),
    )
    with script.client() as client:
        assert [e.seq for e in client.events("job_1", follow=True, progress=True)] == [
            1,
            2,
            3,
            4,
            5,
        ]
    ids = [request.headers.get("Last-Event-ID") for request in script.seen]
    assert ids == [None, "2", "2", "2", "3"]
    assert script.slept == [0.2, 0.4, 0.8, 0.2]


def test_a_stream_starts_after_the_event_that_is_known(kit: Any) -> None:
    script = kit.Script(stream(event(kit, 8, "end")))
    with script.client() as client:
        assert [e.seq for e in client.events("job_1", after=7, follow=True)] == [8]
    assert script.seen[0].headers["Last-Event-ID"] == "7"
    assert script.seen[0].headers["Accept"] == "text/event-stream"


def test_a_stream_that_cannot_be_opened_is_given_up(kit: Any) -> None:
    script = kit.Script(httpx2.ConnectError("refused"))
    with script.client() as client, pytest.raises(errors.ConnectionFailed):
        list(client.events("job_1", follow=True, progress=True))
    assert len(script.seen) == 5
    script = kit.Script(kit.problem(404, "not_found", "No such job."))
    with script.client() as client, pytest.raises(errors.NotFound):
        list(client.events("job_1", follow=True, progress=True))
    assert len(script.seen) == 1


def test_an_answer_that_is_no_event_stream_is_unexpected(kit: Any) -> None:
    script = kit.Script(httpx2.Response(200, text="<h1>It works!</h1>"))
    with script.client() as client, pytest.raises(errors.UnexpectedAnswer):
        list(client.events("job_1", follow=True, progress=True))


def test_progress_events_are_left_out_by_default(kit: Any) -> None:
    sent = [event(kit, 1, "state"), event(kit, 2), event(kit, 3, "end")]
    for follow, answer in [(True, stream(*sent)), (False, kit.page(*sent))]:
        with kit.Script(answer).client() as client:
            assert [e.seq for e in client.events("job_1", follow=follow)] == [1, 3]


def test_events_so_far_are_a_list(kit: Any) -> None:
    script = kit.Script(
        kit.answer(200, {"data": [event(kit, 4)], "next": "4"}),
        kit.answer(200, {"data": [event(kit, 5)], "next": None}),
    )
    with script.client() as client:
        assert [e.seq for e in client.events("job_1", after=3, progress=True)] == [4, 5]
    assert [request.url.params["after"] for request in script.seen] == ["3", "4"]
    assert script.seen[0].headers["Accept"] == "application/json"


def test_watch_yields_changes_until_the_end(kit: Any) -> None:
    script = kit.Script(
        kit.answer(200, kit.job(step=1)),
        kit.answer(200, kit.job(step=1)),
        kit.answer(200, kit.job(step=2)),
        kit.answer(200, kit.job(step=18, status="succeeded")),
    )
    with script.client() as client:
        assert [job.step for job in client.watch("job_1")] == [1, 2, 18]
    assert script.slept == [0.25] * 3


@pytest.mark.parametrize(
    ("status", "kind"), [("failed", errors.JobFailed), ("cancelled", errors.JobCancelled)]
)
def test_waiting_for_a_job_that_ends_badly(
    kit: Any, status: str, kind: type[errors.JobError]
) -> None:
    script = kit.Script(kit.answer(200, kit.job(status=status, reason="nonfinite")))
    with script.client() as client, pytest.raises(kind) as caught:
        client.wait("job_1")
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 (our own bytes)
    assert again.job == caught.value.job
    assert "step 7 of 18" in str(again)


def test_waiting_has_a_limit(kit: Any) -> None:
    script = kit.Script(kit.answer(200, kit.job()))
    with script.client() as client, pytest.raises(errors.NotFinished, match="it goes on"):
        client.wait("job_1", timeout=0.0)
    assert script.slept == []


def test_following_continues_after_a_restart_of_the_service(kit: Any) -> None:
    reported: list[errors.BatchgradError] = []
    away = [httpx2.ConnectError("refused")] * 12
    ended = kit.answer(200, kit.job(step=18, status="succeeded"))
    script = kit.Script(kit.answer(200, kit.job(step=1)), *away, ended)
    with script.client() as client:
        assert [job.step for job in client.watch("job_1", on_disconnect=reported.append)] == [1, 18]
    assert len(reported) == 1
    assert isinstance(reported[0], errors.ConnectionFailed)


def test_each_restart_has_the_whole_reconnect_timeout(kit: Any) -> None:
    reported: list[errors.BatchgradError] = []
    away = [httpx2.ConnectError("refused")] * 50  # ten looks of five sendings, some 35 s
    back = kit.answer(200, kit.job(step=2))
    script = kit.Script(
        kit.answer(200, kit.job(step=1)), *away, back, *away, kit.answer(200, kit.job(step=3))
    )
    with script.client() as client:
        seen = client.watch("job_1", on_disconnect=reported.append)
        assert [next(seen).step for _ in range(3)] == [1, 2, 3]
    assert len(reported) == 2


def test_waiting_ends_when_the_reconnect_timeout_is_over(kit: Any) -> None:
    script = kit.Script(kit.answer(200, kit.job()), httpx2.ConnectError("refused"))
    with script.client() as client, pytest.raises(errors.NotFinished, match="when the service is"):
        client.wait("job_1")
    assert 60 <= sum(script.slept) < 70
    script = kit.Script(httpx2.ConnectError("refused"))  # never there at all
    with script.client() as client, pytest.raises(errors.ConnectionFailed):
        client.wait("job_1")
    script = kit.Script(kit.answer(200, kit.job()), httpx2.ConnectError("refused"))
    with script.client(reconnect_timeout=0) as client, pytest.raises(errors.ConnectionFailed):
        client.wait("job_1")


def test_an_open_stream_continues_after_a_restart_of_the_service(kit: Any) -> None:
    reported: list[errors.BatchgradError] = []
    away = [httpx2.ConnectError("refused")] * 9
    script = kit.Script(stream(event(kit, 1), broken=True), *away, stream(event(kit, 2, "end")))
    with script.client() as client:
        assert [
            e.seq
            for e in client.events(
                "job_1", follow=True, progress=True, on_disconnect=reported.append
            )
        ] == [1, 2]
    assert len(reported) == 1
    script = kit.Script(stream(event(kit, 1), broken=True), httpx2.ConnectError("refused"))
    with script.client() as client, pytest.raises(errors.ConnectionFailed):
        list(client.events("job_1", follow=True, progress=True))
    assert 60 <= sum(script.slept) < 75
