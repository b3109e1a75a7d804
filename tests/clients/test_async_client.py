"""AsyncClient: the methods of Client, against a scripted service; cancelling a task."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import httpx2
import pytest

from batchgrad import AsyncClient, Client, errors
from tests.clients.test_following import event, stream


def public(kind: type) -> dict[str, Any]:
    return {name: found for name, found in inspect.getmembers(kind) if not name.startswith("_")}


def test_both_clients_have_the_same_methods_with_equal_parameters() -> None:
    blocking, coroutines = public(Client), public(AsyncClient)
    assert list(blocking) == list(coroutines)
    assert len(blocking) > 25
    for name, method in blocking.items():
        if name == "url":
            continue
        one, other = inspect.signature(method), inspect.signature(coroutines[name])
        assert one.parameters == other.parameters, name
        assert method.__doc__ == coroutines[name].__doc__, name
        if inspect.iscoroutinefunction(coroutines[name]):
            assert one.return_annotation == other.return_annotation, name
        else:
            returned = one.return_annotation, other.return_annotation
            assert [get_origin(kind) for kind in returned] == [Iterator, AsyncIterator], name
            assert get_args(returned[0]) == get_args(returned[1]), name


def test_requests_are_retried_and_pages_fetched_as_they_are_needed(kit: Any) -> None:
    script = kit.Script(
        httpx2.ConnectError("refused"),
        kit.answer(429, None, **{"Retry-After": "7"}),
        kit.answer(200, {"data": [kit.job(id="a"), kit.job(id="b")], "next": "cursor"}),
        kit.answer(200, {"data": [kit.job(id="c")], "next": None}),
    )

    async def main() -> list[str]:
        async with script.async_client() as client:
            found = client.jobs(label="a=b")
            assert (await anext(found)).id == "a"
            assert len(script.seen) == 3
            return [job.id async for job in found]

    assert asyncio.run(main()) == ["b", "c"]
    assert script.slept == [0.2, 7.0]


def test_a_broken_stream_continues_and_a_job_is_waited_for(kit: Any) -> None:
    sent = [event(kit, 1, "state"), event(kit, 2), event(kit, 3, "end")]
    script = kit.Script(
        stream(*sent[:1], broken=True),
        kit.answer(503),
        stream(*sent),
        kit.answer(200, kit.job()),
        kit.answer(200, kit.job(status="failed", reason="nonfinite")),
    )

    async def main() -> None:
        async with script.async_client() as client:
            found = client.events("job_1", follow=True)
            assert [one.seq async for one in found] == [1, 3]
            with pytest.raises(errors.JobFailed):
                await client.wait("job_1")

    asyncio.run(main())
    assert script.seen[2].headers["Last-Event-ID"] == "1"


def test_a_file_is_sent_anew_for_each_attempt(kit: Any, tmp_path: Path) -> None:
    file = tmp_path / "digits.npz"
    file.write_bytes(b"npz" * 100_000)
    script = kit.Script(kit.answer(503), kit.answer(201, kit.DATASET))

    async def main() -> None:
        async with script.async_client() as client:
            await client.put_dataset("digits", file)

    asyncio.run(main())
    assert [request.content for request in script.seen] == [b"npz" * 100_000] * 2
    assert script.seen[0].headers["Content-Length"] == "300000"


def test_wrong_arguments_and_a_closed_client(kit: Any) -> None:
    async def main() -> None:
        client = kit.Script(kit.answer(200, kit.job())).async_client()
        with pytest.raises(errors.InvalidArgument, match="job_id is None"):
            await client.job(None)
        with pytest.raises(errors.InvalidArgument, match="on_disconnect is a str"):
            client.watch("job_1", on_disconnect="x")
        await client.close()
        with pytest.raises(errors.InvalidArgument, match="closed"):
            await client.job("job_1")

    asyncio.run(main())
    with pytest.raises(errors.InvalidArgument, match=r"expected an httpx2\.AsyncBaseTransport"):
        AsyncClient("http://h", transport=httpx2.HTTPTransport())  # type: ignore[arg-type]


def test_cancelling_a_task_ends_its_request_at_once() -> None:
    class Never(httpx2.AsyncBaseTransport):
        def __init__(self) -> None:
            self.asked, self.cancelled = asyncio.Event(), False

        async def handle_async_request(self, _: httpx2.Request) -> httpx2.Response:
            self.asked.set()
            try:
                return await asyncio.Future()
            except asyncio.CancelledError:
                self.cancelled = True
                raise

    async def main() -> None:
        transport = Never()
        async with AsyncClient("http://service", transport=transport) as client:
            task = asyncio.create_task(client.wait("job_1"))
            await transport.asked.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert transport.cancelled

    asyncio.run(main())


def test_a_warning_names_the_line_of_the_user(kit: Any) -> None:
    script = kit.Script(
        lambda _: httpx2.Response(200, content=b"", headers={"Warning": '199 batchgrad "damaged"'})
    )

    async def main() -> None:
        async with script.async_client() as client:
            with pytest.warns(UserWarning, match="damaged") as caught:
                await client.parameters("job_1")
            assert caught[0].filename == __file__

    asyncio.run(main())
    with script.client() as client, pytest.warns(UserWarning, match="damaged") as caught:
        client.parameters("job_1")
    assert caught[0].filename == __file__
