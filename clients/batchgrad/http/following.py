"""Following a job: its events as they happen, and its figures until it ends."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

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
from batchgrad.http.responses import decode_text
from batchgrad.http.session import Session

Tell = Callable[[BatchgradError], None]
"""Told once each time the service falls silent, with what was the last answer."""


@dataclass
class Patience:
    """How long a service that answered before may be silent: it is being restarted, perhaps."""

    seconds: float
    tell: Tell
    clock: Callable[[], float]
    _since: float | None = None

    def answered(self) -> None:
        """The service is there."""
        self._since = None

    def lasts(self, error: BatchgradError) -> bool:
        """Whether to try again after `error`."""
        if self._since is None:
            self._since = self.clock()
            if self.seconds > 0:
                self.tell(error)
        return self.clock() - self._since < self.seconds


def follow_events(session: Session, path: str, after: int, patience: Patience) -> Iterator[Event]:
    """Every event with a `seq` above `after`, up to and with `end`; reconnects where it left off.

    Gives up with ConnectionFailed, or the service's own error, when `retries.attempts`
    connections in a row gave nothing to read and, once a stream has opened, `patience` has run
    out. One that opened and broke is simply opened again.
    """
    failures, opened = 0, False
    while True:
        try:
            with session.stream_events(path, after) as source:
                failures, opened = 0, True
                patience.answered()
                for event in _new_events(source, after):
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
        if given_up and not (opened and patience.lasts(cause)):
            raise cause
        session.sleep(session.retries.pause(failures))


def _new_events(source: httpx2.EventSource, after: int) -> Iterator[Event]:
    """The stream's events above `after`: a service may repeat what it sent before a break."""
    for sent in source:
        if sent.data:
            event = decode_text(Event, sent.data, source.response)
            if event.seq > after:
                yield event


def watch_job(
    read: Callable[[], Job],
    *,
    timeout_seconds: float | None,
    interval_seconds: float,
    patience: Patience,
    sleep: Callable[[float], None],
) -> Iterator[Job]:
    """The job each time it is found changed; the last one is terminal.

    Raises NotFinished when the time runs out first, or when the service falls silent for longer
    than `patience`; without any patience the error itself.
    """
    clock = patience.clock
    deadline = None if timeout_seconds is None else clock() + timeout_seconds
    last: Job | None = None
    while True:
        try:
            job = read()
        except (ConnectionFailed, Timeout, ServerError) as error:
            if last is None or patience.seconds <= 0:
                raise
            if not patience.lasts(error):
                raise NotFinished(
                    f"{error} Nothing was heard for {patience.seconds:g} s. Job {last.id} goes on "
                    "when the service is back.",
                    last,
                ) from error
            job = last
        else:
            patience.answered()
        if job != last:
            yield job
            last = job
        if job.status in TERMINAL:
            return
        if deadline is not None and clock() + interval_seconds > deadline:
            raise NotFinished(
                f"Job {job.id} is {job.status} after {timeout_seconds:g} s, at step {job.step} of "
                f"{job.steps_planned}; it goes on.",
                job,
            )
        sleep(interval_seconds)


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
