"""Follow a job: its events as they come, and its state until it ends."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import httpx2

from batchgrad.contract import TERMINAL, Event, Job
from batchgrad.errors import (
    BatchgradError,
    ConnectionFailed,
    JobCancelled,
    JobFailed,
    NotFinished,
    ServerError,
    Timeout,
    TooManyRequests,
    UnexpectedAnswer,
)
from batchgrad.http.connections import EventStream
from batchgrad.http.responses import decode_text
from batchgrad.http.session import Session

READ_TOGETHER = 20
"""How many jobs are read each time that several are watched."""

OnDisconnect = Callable[[BatchgradError], None]
"""Called each time that the service stops answering, with the error."""


def ignore(_: BatchgradError) -> None:
    """Do nothing when the service stops answering."""


@dataclass
class ReconnectTimeout:
    """How long a service that answered before may be silent, as it is during a restart."""

    seconds: float | None
    on_disconnect: OnDisconnect
    clock: Callable[[], float]
    _since: float | None = None

    def reset(self) -> None:
        """The service has answered."""
        self._since = None

    def allows_retry(self, error: BatchgradError) -> bool:
        """Whether to try again after `error`."""
        if self._since is None:
            self._since = self.clock()
            if self.seconds != 0:
                self.on_disconnect(error)
        return self.seconds is None or self.clock() - self._since < self.seconds


async def follow_events(
    session: Session, path: str, after: int, reconnect: ReconnectTimeout
) -> AsyncGenerator[Event]:
    """Every event with a `seq` above `after`, up to and with `end`; reconnects where it left off.

    Raises ConnectionFailed, or the service's own error, when `retries.max_attempts` connections in
    a row gave nothing to read and, once a stream has opened, the time to reconnect is over. A
    stream that opened and broke is opened again.
    """
    failures, opened = 0, False
    while True:
        try:
            async with session.stream_events(path, after) as stream:
                failures, opened = 0, True
                reconnect.reset()
                async for sent in stream.events:
                    event = _event(sent, stream)
                    if event is None or event.seq <= after:  # the service may repeat earlier ones
                        continue
                    after = event.seq
                    yield event
                    if event.type == "end":
                        return
            cause: BatchgradError = ConnectionFailed(f"{session.url}{path} ended before the job.")
        except httpx2.SSEError as error:
            raise UnexpectedAnswer(
                f"{session.url}{path}: {error} Is this a batchgrad service?"
            ) from error
        except httpx2.TransportError as error:
            cause = session.broken(error)
        except (TooManyRequests, ServerError) as error:
            cause = error
        failures += 1
        given_up = session.retries.delay(failures) is None
        if given_up and not (opened and reconnect.allows_retry(cause)):
            raise cause
        await session.sleep(session.retries.backoff(failures))


def _event(sent: httpx2.ServerSentEvent, stream: EventStream) -> Event | None:
    """What was sent as an event of a job; None for a comment."""
    return decode_text(Event, sent.data, stream.response) if sent.data else None


async def watch_job(
    read: Callable[[str], Awaitable[Job]], job_id: str, **more: Any
) -> AsyncGenerator[Job]:
    """The job each time that it has changed; the last one is terminal. See `watch_jobs`."""
    async with aclosing(watch_jobs(read, [job_id], **more)) as changes:
        async for [job] in changes:
            yield job


async def watch_jobs(
    read: Callable[[str], Awaitable[Job]],
    job_ids: Sequence[str],
    *,
    timeout: float | None,
    poll_interval: float,
    reconnect: ReconnectTimeout,
    sleep: Callable[[float], Awaitable[None]],
) -> AsyncGenerator[list[Job]]:
    """All jobs each time that one has changed; in the last list all are terminal.

    At each time it reads the first READ_TOGETHER that have not ended: the others wait for these.
    Raises NotFinished after `timeout` seconds, or when the service is silent for longer than
    `reconnect` allows; where that is 0 s, the error itself.
    """
    clock = reconnect.clock
    deadline = None if timeout is None else clock() + timeout
    jobs: dict[str, Job] = {}
    while True:
        last = dict(jobs)
        try:
            for job_id in _not_ended(job_ids, jobs)[: READ_TOGETHER if jobs else None]:
                jobs[job_id] = await read(job_id)
        except (ConnectionFailed, Timeout, ServerError) as error:
            if len(jobs) < len(set(job_ids)) or reconnect.seconds == 0:
                raise
            if not reconnect.allows_retry(error):
                job = jobs[_not_ended(job_ids, jobs)[0]]
                raise NotFinished(
                    f"{error} That was so for {reconnect.seconds:g} s. Job "
                    f"{job.id} goes on when the service is back.",
                    job,
                ) from error
        else:
            reconnect.reset()
        if jobs != last:
            yield [jobs[job_id] for job_id in job_ids]
        waited_for = _not_ended(job_ids, jobs)
        if not waited_for:
            return
        if deadline is not None and clock() + poll_interval > deadline:
            job = jobs[waited_for[0]]
            raise NotFinished(
                f"Job {job.id} is {job.status} after {timeout:g} s, at step {job.step} of "
                f"{job.steps_planned}; it goes on.",
                job,
            )
        await sleep(poll_interval)


def _not_ended(job_ids: Sequence[str], jobs: Mapping[str, Job]) -> list[str]:
    """The ids of the jobs that may still change, in order."""
    return [one for one in job_ids if one not in jobs or jobs[one].status not in TERMINAL]


def succeeded(job: Job) -> Job:
    """The job itself if it succeeded; raises JobFailed, JobCancelled or NotFinished if not."""
    if job.status == "succeeded":
        return job
    where = f"at step {job.step} of {job.steps_planned}"
    if job.status == "failed":
        why = f"{job.reason or 'no reason given'}." + (f" {job.detail}" if job.detail else "")
        raise JobFailed(f"Job {job.id} failed {where}: {why}", job)
    if job.status == "cancelled":
        raise JobCancelled(f"Job {job.id} was cancelled {where}.", job)
    raise NotFinished(f"Job {job.id} is {job.status} {where}.", job)
