"""The client: every resource of the service as a method, typed by `batchgrad.contract`."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from batchgrad import timeouts
from batchgrad.contract import (
    Checkpoint,
    Event,
    GradientsRequest,
    GradientsResponse,
    InfluenceOrder,
    Job,
    JobSpec,
    JobStatus,
    Kept,
    Ledger,
    LedgerOrder,
    Page,
    Plan,
    Precision,
    StepExamples,
    StepRow,
)
from batchgrad.files import (
    ParametersFormat,
    check_target,
    parameters_format,
    write_atomically,
)
from batchgrad.http.dataset_client import DatasetClient
from batchgrad.http.following import (
    OnDisconnect,
    follow_events,
    ignore,
    succeeded,
    watch_job,
)
from batchgrad.http.pages import ledger, pages
from batchgrad.http.requests import job_path, spec_body
from batchgrad.http.responses import decode, warn
from batchgrad.http.session import Params
from batchgrad.parsing import arguments


class Client(DatasetClient):
    """A synchronous client; use it as a context manager, or call `close`.

    `url` and `token` default to BATCHGRAD_URL and BATCHGRAD_TOKEN; the token of this user's own
    service on this machine is found without them. A request is sent again, with backoff, when the
    connection fails or the service answers 429, 502, 503 or 504.

    Every timeout is in seconds; None waits forever. `timeout` is for the answer to a request;
    methods for which the service computes longer have their own. `reconnect_timeout` is for a
    service that stops answering while a job is watched: a job outlives a restart of its service.

    `retries`, `sleep`, `clock` and `transport` (httpx2's) are arguments so that tests need neither
    time nor network. Every error is a `batchgrad.BatchgradError`.
    """

    # jobs

    def submit(
        self, spec: JobSpec | Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> Job:
        """Create a job; the same key with the same spec returns the same job."""
        if idempotency_key is None:
            idempotency_key = uuid.uuid4().hex  # one for all sendings of this call
        headers = {"Idempotency-Key": arguments.header("idempotency_key", idempotency_key)}
        return decode(
            Job, self._session.send_json("POST", "/v1/jobs", spec_body(spec), headers=headers)
        )

    def plan(self, spec: JobSpec | Mapping[str, Any]) -> Plan:
        """What a job with this spec would do; creates no job."""
        return decode(Plan, self._session.send_json("POST", "/v1/plans", spec_body(spec)))

    def job(self, job_id: str) -> Job:
        """The current state of a job."""
        return decode(Job, self._session.send("GET", job_path(job_id)))

    def jobs(
        self, *, status: Sequence[JobStatus] | JobStatus = (), label: str | None = None
    ) -> Iterator[Job]:
        """Jobs, newest first, fetched page by page; `label` is KEY=VALUE."""
        params: Params = {
            "status": arguments.texts("status", status),
            "label": arguments.optional(arguments.text, "label", label),
        }
        return pages(self._session, Page[Job], "/v1/jobs", params)

    def watch(
        self,
        job_id: str,
        *,
        timeout: float | None = None,
        poll_interval: float = 0.25,
        on_disconnect: OnDisconnect = ignore,
    ) -> Iterator[Job]:
        """The job each time it has changed, read every `poll_interval` seconds, until it ends.

        The last one is terminal. Raises NotFinished after `timeout` seconds, or when the service
        stays away for longer than `reconnect_timeout`. `on_disconnect` is called each time that
        the service stops answering.
        """
        return watch_job(
            lambda: self.job(job_id),
            timeout=arguments.timeout("timeout", timeout),
            poll_interval=arguments.seconds("poll_interval", poll_interval),
            reconnect=self._reconnect(on_disconnect),
            sleep=self._sleep,
        )

    def wait(
        self, job_id: str, *, timeout: float | None = None, poll_interval: float = 0.25
    ) -> Job:
        """The job once it has succeeded; raises JobFailed, JobCancelled or NotFinished."""
        *_, last = self.watch(job_id, timeout=timeout, poll_interval=poll_interval)
        return succeeded(last)

    def events(
        self,
        job_id: str,
        *,
        after: int = 0,
        follow: bool = False,
        progress: bool = False,
        on_disconnect: OnDisconnect = ignore,
    ) -> Iterator[Event]:
        """The events of a job after number `after`; with `follow` also those to come.

        Events of type `progress`, several a second, are left out without `progress`. A followed
        stream ends with the event `end`, and reconnects until then.
        """
        path = f"{job_path(job_id)}/events"
        after = arguments.whole("after", after)
        if follow:
            reconnect = self._reconnect(on_disconnect)
            found = follow_events(self._session, path, after, reconnect)
        else:
            found = pages(self._session, Page[Event], path, {"after": after or None})
        return (event for event in found if progress or event.type != "progress")

    def steps(
        self, job_id: str, *, after: int = 0, max_points: int | None = None
    ) -> Iterator[StepRow]:
        """The rows of the steps after step `after`, in order.

        `max_points` limits their number: evenly spaced rows, with the first and the last.
        """
        params: Params = {
            "after": arguments.whole("after", after) or None,
            "max_points": arguments.optional(arguments.whole, "max_points", max_points),
        }
        return pages(self._session, Page[StepRow], f"{job_path(job_id)}/steps", params)

    def last_step(self, job_id: str) -> StepRow | None:
        """The newest step row; None before the first step."""
        rows = list(self.steps(job_id, max_points=2))
        return rows[-1] if rows else None

    def checkpoints(self, job_id: str) -> list[Checkpoint]:
        """States that the job can go on from, newest first."""
        return list(pages(self._session, Page[Checkpoint], f"{job_path(job_id)}/checkpoints", {}))

    def examples(
        self, job_id: str, *, order: LedgerOrder = "mean_norm", limit: int | None = 20
    ) -> Ledger:
        """The example ledger of a job: the first `limit` examples by `order`, or all for None."""
        if limit is not None:
            limit = arguments.whole("limit", limit, least=1)
        params: Params = {"order": arguments.text("order", order)}
        return ledger(self._session, f"{job_path(job_id)}/examples", params, limit)

    def step_examples(
        self,
        job_id: str,
        step: int,
        *,
        order: InfluenceOrder = "share",
        limit: int = 20,
        timeout: float | None = timeouts.LONG_REQUEST,
    ) -> StepExamples:
        """The influence of each example on a step, which the service replays."""
        path = f"{job_path(job_id)}/steps/{arguments.whole('step', step, least=1)}/examples"
        params: Params = {
            "order": arguments.text("order", order),
            "limit": arguments.whole("limit", limit, least=1),
        }
        return decode(
            StepExamples,
            self._session.send(
                "GET", path, params=params, timeout=arguments.timeout("timeout", timeout)
            ),
        )

    def cancel(self, job_id: str) -> Job:
        """Cancel at the next step boundary; Conflict if the job has ended."""
        return decode(Job, self._session.send("POST", f"{job_path(job_id)}/cancel"))

    def pause(self, job_id: str) -> Job:
        """Write a checkpoint and stop at the next step boundary; `resume` goes on from there."""
        return decode(Job, self._session.send("POST", f"{job_path(job_id)}/pause"))

    def resume(self, job_id: str) -> Job:
        """Queue a paused job again; its result has the same bits as without the pause."""
        return decode(Job, self._session.send("POST", f"{job_path(job_id)}/resume"))

    def delete(self, job_id: str) -> None:
        """Delete a job that has ended, with its steps and checkpoints."""
        self._session.send("DELETE", job_path(job_id))

    def parameters(
        self,
        job_id: str,
        *,
        format: ParametersFormat = "safetensors",  # noqa: A002 (what the query calls it too)
        which: Kept | None = None,
        step: int | None = None,
        fold: bool = False,
        precision: Precision | None = None,
        timeout: float | None = timeouts.LONG_REQUEST,
    ) -> bytes:
        """Trained parameters: those that the job keeps, or `which`, or those after `step` steps.

        `fold` folds the standardization of inputs into the first layer, so that the network takes
        raw inputs; raises InvalidRequest if that layer cannot, or not in this `precision` (default
        the job's): where means are many deviations from 0, only float64 is precise enough. If the
        newest checkpoint is damaged, returns the previous one's, with a UserWarning.
        """
        params: Params = {
            "format": arguments.text("format", format),
            "which": arguments.optional(arguments.text, "which", which),
            "step": arguments.optional(arguments.whole, "step", step),
            "fold": "true" if fold else None,
            "precision": arguments.optional(arguments.text, "precision", precision),
        }
        answer = self._session.send(
            "GET",
            f"{job_path(job_id)}/parameters",
            params=params,
            headers={"Accept": "*/*"},
            timeout=arguments.timeout("timeout", timeout),
        )
        warn(answer)
        return answer.content

    def download(
        self,
        job_id: str,
        path: str | Path,
        *,
        format: ParametersFormat | None = None,  # noqa: A002
        which: Kept | None = None,
        step: int | None = None,
        fold: bool = False,
        precision: Precision | None = None,
        timeout: float | None = timeouts.LONG_REQUEST,
    ) -> Path:
        """Write the parameters to a file, in the format of its name: .safetensors or .npz.

        `format` overrides the name. Replaces a file of parameters; raises FileFailed for any other
        existing file.
        """
        target = arguments.path("path", path)
        kind = format or parameters_format(target)
        check_target(target)
        content = self.parameters(
            job_id,
            format=kind,
            which=which,
            step=step,
            fold=fold,
            precision=precision,
            timeout=timeout,
        )
        write_atomically(target, content)
        return target

    # one minibatch

    def gradients(
        self,
        request: GradientsRequest | Mapping[str, Any],
        *,
        timeout: float | None = timeouts.LONG_REQUEST,
    ) -> GradientsResponse:
        """The mean gradient of one minibatch, and each shortcut's gradient and error."""
        timeout = arguments.timeout("timeout", timeout)
        response = self._session.send_json(
            "POST", "/v1/gradients", spec_body(request), timeout=timeout
        )
        return decode(GradientsResponse, response)
