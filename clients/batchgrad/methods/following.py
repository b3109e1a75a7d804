"""Follow a job: its state until it ends, and its events."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from batchgrad.contract import Event, Job, Page
from batchgrad.http.following import (
    OnDisconnect,
    follow_events,
    ignore,
    succeeded,
    watch_job,
)
from batchgrad.http.pages import pages
from batchgrad.http.requests import job_path
from batchgrad.methods.jobs import JobMethods
from batchgrad.parsing import arguments


class FollowingMethods(JobMethods):
    """Watch, wait, events."""

    def watch(
        self,
        job_id: str,
        *,
        timeout: float | None = None,
        poll_interval: float = 0.25,
        on_disconnect: OnDisconnect = ignore,
    ) -> AsyncIterator[Job]:
        """The job each time it has changed, read every `poll_interval` seconds, until it ends.

        The last one is terminal. Raises NotFinished after `timeout` seconds, or when the service
        stays away for longer than `reconnect_timeout`. `on_disconnect` is called each time that
        the service stops answering.
        """
        return watch_job(
            self.job,
            arguments.text("job_id", job_id),
            timeout=arguments.timeout("timeout", timeout),
            poll_interval=arguments.seconds("poll_interval", poll_interval),
            reconnect=self._service.reconnect(on_disconnect),
            sleep=self._session.sleep,
        )

    async def wait(
        self, job_id: str, *, timeout: float | None = None, poll_interval: float = 0.25
    ) -> Job:
        """The job once it has succeeded; raises JobFailed, JobCancelled or NotFinished."""
        changes = self.watch(job_id, timeout=timeout, poll_interval=poll_interval)
        return succeeded([job async for job in changes][-1])

    def events(
        self,
        job_id: str,
        *,
        after: int = 0,
        follow: bool = False,
        progress: bool = False,
        on_disconnect: OnDisconnect = ignore,
    ) -> AsyncIterator[Event]:
        """The events of a job after number `after`; with `follow` also those to come.

        Events of type `progress`, up to five a second, are left out without `progress`. A followed
        stream ends with the event `end`, and reconnects until then.
        """
        path = f"{job_path(job_id)}/events"
        after = arguments.whole("after", after)
        progress = arguments.truth("progress", progress)
        if arguments.truth("follow", follow):
            reconnect = self._service.reconnect(on_disconnect)
            found = follow_events(self._session, path, after, reconnect)
        else:
            found = pages(self._session, Page[Event], path, {"after": after or None})
        return found if progress else _without_progress(found)


async def _without_progress(events: AsyncGenerator[Event]) -> AsyncGenerator[Event]:
    async with aclosing(events):
        async for event in events:
            if event.type != "progress":
                yield event
