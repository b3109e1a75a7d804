"""Feeds of jobs' events: read from the store once for all readers of a job."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import anyio
import anyio.to_thread
import structlog
from starlette.concurrency import run_in_threadpool

from batchgrad.contract import TERMINAL, Event
from batchgrad_service.problems import NotFoundError
from batchgrad_service.shutdown import Shutdown
from batchgrad_service.store import Store

BATCH = 100
"""The most events sent at a time, which is what a reader that does not read keeps in memory."""

KEPT_BATCHES = 20
"""How many of the newest batches a feed keeps, and how many older ones that readers asked for."""

SECONDS_PER_READER = 0.002
"""The pause between two batches, for each reader; sending costs a tenth of that in CPU time."""

_WOKEN_TOGETHER = 25
_CATCHING_UP = 4  # how many readers may read from the store at the same time
_log = structlog.stdlib.get_logger("batchgrad.events")


@dataclass(frozen=True)
class _Batch:
    """Events after number `after`, up to `last`, as bytes to send."""

    after: int
    last: int
    sent: bytes


class EventFeeds:
    """One feed for each job that has readers."""

    def __init__(self, store: Store, shutdown: Shutdown) -> None:
        self._store = store
        self._shutdown = shutdown
        self._feeds: dict[str, _Feed] = {}
        self._catching_up = anyio.CapacityLimiter(_CATCHING_UP)

    async def follow(
        self, job_id: str, after: int, keep_alive_seconds: float
    ) -> AsyncIterator[bytes]:
        """Yield server-sent events after number `after`, until the job or the service ends.

        When there are none for a while, yield a comment that keeps the connection alive. No event
        is left out: a slow reader gets its next events from the store.
        """
        with self._feed(job_id) as feed:
            while not self._shutdown.begun:
                await feed.is_ready()
                if after < feed.last:
                    batch = feed.batch(after) or await feed.older(after)
                    if batch is None or not batch.sent:  # the job was deleted meanwhile
                        return
                    yield batch.sent
                    after = batch.last
                elif feed.ended:
                    return
                elif not await feed.has_news(keep_alive_seconds):
                    yield b": keep-alive\n\n"

    def resumed(self, job_id: str) -> None:
        """A job that had ended goes on: new readers need a new feed. Call it in the event loop."""
        self._feeds.pop(job_id, None)

    @contextmanager
    def _feed(self, job_id: str) -> Iterator["_Feed"]:
        feed = self._feeds.get(job_id)
        if feed is None or feed.broken:
            feed = self._feeds[job_id] = _Feed(
                job_id, self._store, self._shutdown, self._catching_up
            )
        feed.readers += 1
        try:
            yield feed
        finally:
            feed.readers -= 1
            if not feed.readers:
                feed.stop()
                if self._feeds.get(job_id) is feed:
                    del self._feeds[job_id]


class _Feed:
    """The newest events of one job, and the readers that wait for more; for one event loop."""

    def __init__(
        self, job_id: str, store: Store, shutdown: Shutdown, catching_up: anyio.CapacityLimiter
    ) -> None:
        self.readers = 0
        self.last = 0
        self.ended = False
        self.broken = False
        """Whether the feed ended before the job did: a new reader needs a new feed."""
        self._job_id = job_id
        self._store = store
        self._shutdown = shutdown
        self._catching_up = catching_up
        self._batches: deque[_Batch] = deque(maxlen=KEPT_BATCHES)
        self._older: dict[int, asyncio.Task[_Batch | None]] = {}
        self._ready = asyncio.Event()
        self._waiting: set[asyncio.Future[None]] = set()
        self._reading = asyncio.create_task(self._read_on())

    def stop(self) -> None:
        """End the feed, because it has no readers."""
        self._reading.cancel()

    async def is_ready(self) -> None:
        """Wait until `last` and `ended` are known."""
        await self._ready.wait()

    def batch(self, after: int) -> _Batch | None:
        """Return the batch that follows event number `after`; None if the feed does not keep it."""
        return next((batch for batch in reversed(self._batches) if batch.after == after), None)

    async def older(self, after: int) -> _Batch | None:
        """Return a batch that follows event number `after`, from the store; None without the job.

        Readers that catch up at about the same time share what one of them has read.
        """
        if after not in self._older:
            while len(self._older) >= KEPT_BATCHES:
                del self._older[next(iter(self._older))]
            self._older[after] = asyncio.create_task(self._stored(after))
            self._older[after].add_done_callback(partial(self._forget_failed, after))
        return await asyncio.shield(self._older[after])  # the reader that asked first may leave

    def _forget_failed(self, after: int, reading: "asyncio.Task[_Batch | None]") -> None:
        """Let the next reader read again what could not be read, or is not there yet."""
        found = None if reading.cancelled() or reading.exception() else reading.result()
        if (found is None or not found.sent) and self._older.get(after) is reading:
            del self._older[after]

    async def _stored(self, after: int) -> _Batch | None:
        try:
            return await anyio.to_thread.run_sync(
                _read, self._store, self._job_id, after, limiter=self._catching_up
            )
        except NotFoundError:
            return None

    async def has_news(self, seconds: float) -> bool:
        """Wait for new events; False if there are none within `seconds`."""
        news = asyncio.get_running_loop().create_future()
        self._waiting.add(news)
        try:
            done, _ = await asyncio.wait([news], timeout=seconds)
        finally:  # a reader that left waits no longer
            self._waiting.discard(news)
        return bool(done)

    async def _read_on(self) -> None:
        loop, changed = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(changed.set)

        try:
            with self._store.subscribe(self._job_id, wake), self._shutdown.subscribe(wake):
                _, self.last = await run_in_threadpool(self._store.newest_events, self._job_id, 1)
                while not self._shutdown.begun:
                    changed.clear()  # before reading, so that no commit falls between
                    if not await self._read_more():
                        return
                    await self._wake_readers()
                    await asyncio.sleep(SECONDS_PER_READER * self.readers)
                    await changed.wait()
        except NotFoundError:
            return  # deleted meanwhile
        except Exception:  # noqa: BLE001 - readers come again, with the last event that they have
            self.broken = True
            _log.exception("the feed of a job's events broke", job_id=self._job_id)
        finally:
            self.ended = True
            self._ready.set()
            self._wake_all()

    async def _read_more(self) -> bool:
        """Read all new events; return whether more may follow."""
        job = await run_in_threadpool(
            self._store.job, self._job_id
        )  # before reading events: `end` is stored with the status
        while (batch := await run_in_threadpool(_read, self._store, self._job_id, self.last)).sent:
            self._batches.append(batch)
            self.last = batch.last
        return job.status not in TERMINAL

    async def _wake_readers(self) -> None:
        """Wake waiting readers, a few at a time, so that other requests are served in between."""
        self._ready.set()
        waiting, self._waiting = list(self._waiting), set()
        for start in range(0, len(waiting), _WOKEN_TOGETHER):
            for news in waiting[start : start + _WOKEN_TOGETHER]:
                if not news.done():
                    news.set_result(None)
            await asyncio.sleep(0)

    def _wake_all(self) -> None:
        for news in self._waiting:
            if not news.done():
                news.set_result(None)
        self._waiting.clear()


def _read(store: Store, job_id: str, after: int) -> _Batch:
    found = store.events(job_id, after=after, limit=BATCH).data
    last = found[-1].seq if found else after
    return _Batch(after, last, "".join(map(_frame, found)).encode())


def _frame(event: Event) -> str:
    return f"id: {event.seq}\nevent: {event.type}\ndata: {event.model_dump_json()}\n\n"
