"""Readers of a job's events share one feed; each gets every event once, by number."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from batchgrad.contract import Event, Page
from batchgrad_engine.messages import EngineEvent
from batchgrad_service.jobs.event_feed import KEPT_BATCHES, EventFeeds
from batchgrad_service.shutdown import Shutdown
from batchgrad_service.store import Store, StoreBusy
from tests.service.building import started

PATIENCE_SECONDS = 20.0


class CountingStore(Store):
    """A store that counts reads of events."""

    reads = 0
    busy = False

    def events(self, job_id: str, *, after: int = 0, limit: int = 100) -> Page[Event]:
        self.reads += 1
        if self.busy:
            raise StoreBusy
        return super().events(job_id, after=after, limit=limit)


@pytest.fixture
def counting(tmp_path: Path, store: Store) -> CountingStore:
    return CountingStore(f"sqlite:///{tmp_path}/batchgrad.sqlite3")


def numbers(sent: bytes) -> list[int]:
    return [int(number) for number in re.findall(rb"^id: (\d+)$", sent, re.MULTILINE)]


async def everything(followed: AsyncIterator[bytes]) -> list[int]:
    return [number async for sent in followed for number in numbers(sent)]


async def store_events(store: Store, job_id: str, attempt: int, count: int = 1) -> None:
    for _ in range(count):
        event_data = EngineEvent(event="warning", data={"detail": "x"})
        await asyncio.to_thread(store.record_event, job_id, attempt, event_data)


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.005)


def run(coroutine: Any) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, PATIENCE_SECONDS))


def test_many_readers_cost_the_reads_of_one(counting: CountingStore) -> None:
    job_id, attempt = started(counting)  # four events
    feeds = EventFeeds(counting, Shutdown())

    async def follow() -> list[list[int]]:
        readers = [feeds.follow(job_id, 4, PATIENCE_SECONDS) for _ in range(100)]
        firsts = [asyncio.ensure_future(anext(reader)) for reader in readers]
        await until(lambda: any(len(feed._waiting) == 100 for feed in feeds._feeds.values()))
        for _ in range(10):
            await store_events(counting, job_id, attempt)
        received = [numbers(await first) for first in firsts]
        counting.transition(job_id, to="succeeded", allowed=["running"])
        rest = await asyncio.gather(*(everything(reader) for reader in readers))
        return [first + more for first, more in zip(received, rest, strict=True)]

    assert run(follow()) == [list(range(5, 17))] * 100
    assert counting.reads < 60  # two for each commit at most; it was two for each reader
    assert not feeds._feeds
    assert not counting._listeners


def test_readers_that_catch_up_share_what_one_has_read(counting: CountingStore) -> None:
    job_id, attempt = started(counting)  # four events
    feeds = EventFeeds(counting, Shutdown())

    async def follow() -> list[list[int]]:
        await store_events(counting, job_id, attempt, 246)
        readers = [feeds.follow(job_id, 0, PATIENCE_SECONDS) for _ in range(50)]
        firsts = await asyncio.gather(*map(anext, readers[:-1]))
        leaving = asyncio.ensure_future(anext(readers[-1]))
        await asyncio.sleep(0)
        leaving.cancel()
        rest = [await asyncio.gather(*map(anext, readers[:-1])) for _ in range(2)]
        return [numbers(b"".join(sent)) for sent in zip(firsts, *rest, strict=True)]

    assert run(follow()) == [list(range(1, 251))] * 49
    assert counting.reads <= 5  # three batches; the feed itself looks for news


def test_a_read_that_failed_is_not_shared(counting: CountingStore) -> None:
    job_id, _ = started(counting)
    feeds = EventFeeds(counting, Shutdown())

    async def follow() -> list[int]:
        with feeds._feed(job_id) as feed:
            await feed.is_ready()
            counting.busy = True
            with pytest.raises(StoreBusy):
                await feed.older(0)
            counting.busy = False
            batch = await feed.older(0)
            assert batch is not None
            return numbers(batch.sent)

    assert run(follow()) == [1, 2, 3, 4]


def test_a_slow_reader_misses_nothing(counting: CountingStore) -> None:
    job_id, attempt = started(counting)
    feeds = EventFeeds(counting, Shutdown())
    many = 2 * KEPT_BATCHES

    async def follow() -> tuple[list[int], list[int]]:
        slow = feeds.follow(job_id, 0, PATIENCE_SECONDS)
        first = numbers(await anext(slow))
        quick, seen = feeds.follow(job_id, 4, PATIENCE_SECONDS), []
        for _ in range(many):  # each a batch of its own: those that the slow one needs are dropped
            await store_events(counting, job_id, attempt)
            seen += numbers(await anext(quick))
        counting.transition(job_id, to="succeeded", allowed=["running"])
        return first + await everything(slow), seen + await everything(quick)

    slow, quick = run(follow())
    assert slow == list(range(1, 7 + many))
    assert quick == slow[4:]


def test_a_reader_from_the_middle_of_a_batch_begins_there(counting: CountingStore) -> None:
    job_id, attempt = started(counting)
    feeds = EventFeeds(counting, Shutdown())

    async def follow() -> list[list[int]]:
        with feeds._feed(job_id) as feed:
            await feed.is_ready()
            await store_events(counting, job_id, attempt, 10)
            await until(lambda: feed.last == 14)
            counting.transition(job_id, to="succeeded", allowed=["running"])
            return [
                await everything(feeds.follow(job_id, after, PATIENCE_SECONDS))
                for after in range(17)
            ]

    assert run(follow()) == [list(range(after + 1, 17)) for after in range(17)]


def test_a_failed_feed_is_replaced_once_the_store_is_back(counting: CountingStore) -> None:
    job_id, attempt = started(counting)
    feeds = EventFeeds(counting, Shutdown())

    async def follow() -> tuple[list[int], list[int]]:
        still_reading = feeds.follow(job_id, 0, PATIENCE_SECONDS)
        await anext(still_reading)
        counting.busy = True
        await store_events(counting, job_id, attempt)
        await until(lambda: feeds._feeds[job_id].ended)
        counting.busy = False
        later = asyncio.ensure_future(everything(feeds.follow(job_id, 4, PATIENCE_SECONDS)))
        await until(lambda: not feeds._feeds[job_id].ended or later.done())
        await store_events(counting, job_id, attempt)
        counting.transition(job_id, to="succeeded", allowed=["running"])
        return await later, await everything(still_reading)

    later, rest = run(follow())
    assert later == [5, 6, 7, 8]
    assert rest == []  # it comes again
    assert not feeds._feeds


def test_new_readers_of_a_resumed_job_follow_it_to_its_new_end(store: Store) -> None:
    job_id, attempt = started(store)
    store.transition(job_id, to="failed")
    end = store.last_event(job_id)
    feeds = EventFeeds(store, Shutdown())

    async def main() -> tuple[list[int], list[int]]:
        with feeds._feed(job_id):  # a reader that has not left yet
            before = await everything(feeds.follow(job_id, 0, 60))
            store.transition(job_id, to="queued", allowed=["failed"])
            feeds.resumed(job_id)
            following = asyncio.create_task(everything(feeds.follow(job_id, 0, 60)))
            await until(lambda: job_id in feeds._feeds)
            assert store.begin_attempt(job_id) == attempt + 1
            await store_events(store, job_id, attempt + 1, 3)
            store.transition(job_id, to="succeeded", allowed=["starting"])
            return before, await following

    before, after = run(main())
    assert before[-1] == end
    assert after == list(range(1, store.last_event(job_id) + 1))
    types = [event.type for event in store.events(job_id).data]
    assert (types[-1], types.count("end")) == ("end", 1)
