"""Follow a job on the command line: progress on stderr, and the next command to type."""
# ruff: noqa: PLC0415 (commands import what they need when they run, so that help is quick)

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import typer

from batchgrad.cli.common import write
from batchgrad.display.terminal import say

if TYPE_CHECKING:
    from batchgrad.client import Client
    from batchgrad.contract import Event, Job
    from batchgrad.errors import BatchgradError

LINES_EVERY_SECONDS = 5.0
NOT_FINISHED = 101
CANCELLED = 103


def watch(
    client: "Client", job_id: str, timeout: float | None, output: str, *, lasting: bool = True
) -> None:
    """Show progress on stderr, then the job on stdout; raise or exit by how it ended.

    Ends when the job is paused, since only a user resumes it. `lasting`: the job goes on when
    following stops, because its service does.
    """
    from batchgrad.display.live.job import JobDisplay
    from batchgrad.errors import JobFailed, NotFinished
    from batchgrad.http.following import succeeded

    try:
        with (
            detaching(job_id, lasting=lasting),
            JobDisplay(lines_every_seconds=LINES_EVERY_SECONDS) as display,
        ):
            note = _on_disconnect(client, display.note)
            for job in client.watch(job_id, timeout=timeout, on_disconnect=note):
                display.update(job)
                if job.status == "paused":
                    break
    except NotFinished as error:
        show(error.job, output)
        if not lasting:
            raise
        say(f"batchgrad: {error}")
        _again(job_id)
    show(job, output)
    if job.status == "paused":
        say(f"Job {job_id} is paused at step {job.step} of {job.steps_planned}.")
        say(f"Resume it: batchgrad resume {job_id} && batchgrad wait {job_id}")
        raise typer.Exit(NOT_FINISHED)
    try:
        succeeded(job)
    except JobFailed as error:
        if output != "table":
            raise
        # The table has just shown why.
        raise JobFailed(f"Job {job_id} failed at step {job.step}: {job.reason}.", job) from error


def follow(
    client: "Client",
    job_id: str,
    after: int,
    take: "Callable[[Event], None]",
    *,
    progress: bool,
    timeout: float | None,
) -> None:
    """Take each event until the job ends; exit with 101 when following stops before."""
    from batchgrad.errors import ConnectionFailed, ServerError

    seen = after
    with detaching(job_id), _time_limit(timeout):
        try:
            for event in client.events(
                job_id,
                after=after,
                follow=True,
                progress=progress,
                on_disconnect=_on_disconnect(client, say),
            ):
                take(event)
                seen = event.seq
        except (ConnectionFailed, ServerError) as error:
            if seen == after:
                raise
            say(f"batchgrad: {error} The job goes on when the service is back.")
            say(f"Follow it again: batchgrad events {job_id} --follow --after {seen}")
            raise typer.Exit(NOT_FINISHED) from error
        except _TimeOver:
            say(f"batchgrad: Job {job_id} had not ended after {timeout:g} s; it goes on.")
            _again(job_id)


def show(job: "Job", output: str) -> None:
    """Print a job on stdout."""
    from batchgrad.display import jobs

    jobs.show_job(job) if output == "table" else write(job, output)


class _TimeOver(Exception):
    """The time to follow is over."""


@contextmanager
def _time_limit(seconds: float | None) -> Iterator[None]:
    """Raise _TimeOver after `seconds`, also while the main thread reads a silent stream."""
    if seconds is None:
        yield
        return
    if not hasattr(signal, "setitimer"):
        raise typer.BadParameter(
            "needs POSIX; `batchgrad wait` has one too.", param_hint="--timeout"
        )

    def over(*_: object) -> NoReturn:
        raise _TimeOver

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6))  # 0 would be no limit
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def detaching(job_id: str, *, lasting: bool = True) -> Iterator[None]:
    """Ctrl-C stops following, and the job only where its service does not last."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if not lasting:
            say("\nInterrupted; the private service is gone.")
            raise typer.Exit(CANCELLED) from interrupt
        say(f"\nStopped following; job {job_id} goes on.")
        _again(job_id)


def _again(job_id: str) -> NoReturn:
    say(f"Follow it again: batchgrad wait {job_id}")
    say(f"Stop it: batchgrad cancel {job_id}")
    raise typer.Exit(NOT_FINISHED)


def _on_disconnect(
    client: "Client", note: Callable[[str], None]
) -> "Callable[[BatchgradError], None]":
    def write_note(_: "BatchgradError") -> None:
        note(f"No answer from {client.url}: trying again for a minute; the job is not lost.")

    return write_note
