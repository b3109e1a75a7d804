"""The client: every resource of the service as a method, typed by `batchgrad.contract`."""

import os
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2

from batchgrad.contract import (
    Checkpoint,
    Dataset,
    Event,
    GradientsRequest,
    GradientsResponse,
    Job,
    JobSpec,
    JobStatus,
    Kept,
    Ledger,
    LedgerEntry,
    LedgerOrder,
    Page,
    Plan,
    Precision,
    ShareOrder,
    StepExamples,
    StepRow,
    Version,
)
from batchgrad.contract.answer import Answer
from batchgrad.errors import InvalidArgument
from batchgrad.files import (
    ParametersFormat,
    check_target,
    parameters_format,
    refuse_other_formats,
    write_atomically,
)
from batchgrad.http.following import Patience, Tell, follow_events, succeeded, watch_job
from batchgrad.http.responses import decode
from batchgrad.http.retries import Retries
from batchgrad.http.session import Params, Session
from batchgrad.parsing import arguments
from batchgrad.parsing.npz import npz_bytes
from batchgrad.variables import refuse_unknown

DEFAULT_URL = "http://127.0.0.1:8711"
LONG_SECONDS = 600.0  # a dataset is checked, a gradient computed, before the service answers
PAGE = 1000  # as many of a ledger's rows as the service gives at once

Item = TypeVar("Item", bound=Answer)


def _ignore(_: object) -> None:
    """Nobody wants to know."""


class Client:
    """A synchronous client; use it as a context manager, or call `close`.

    `url` and `token` default to BATCHGRAD_URL and BATCHGRAD_TOKEN; the token of this user's own
    service on this machine is found without them. Requests are sent again, with
    backoff, when the connection fails or the service answers 429, 502, 503 or 504. A job that is
    watched outlives a restart of its service: so long as that takes no longer than
    `patience_seconds`, watching goes on. `retries`, `sleep`, `clock` and `transport` (httpx2's)
    are arguments so that tests need neither time nor network.
    Everything that goes wrong is a `batchgrad.errors.BatchgradError`.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout: float = 30.0,
        patience_seconds: float = 60.0,
        transport: httpx2.BaseTransport | None = None,
        retries: Retries | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if url is None or token is None:
            refuse_unknown(os.environ)
        timeout = arguments.seconds("timeout", timeout)
        self._session = Session(
            (os.environ.get("BATCHGRAD_URL") or DEFAULT_URL) if url is None or url == "" else url,
            os.environ.get("BATCHGRAD_TOKEN") if token is None or token == "" else token,
            timeout_seconds=timeout,
            transport=transport,
            retries=retries,
            sleep=sleep,
        )
        self._sleep = sleep
        self._clock = clock
        self._patience_seconds = arguments.seconds("patience_seconds", patience_seconds)
        self._long = max(timeout, LONG_SECONDS)

    @property
    def url(self) -> str:
        """Where the service is."""
        return self._session.url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    # jobs

    def submit(
        self, spec: JobSpec | Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> Job:
        """Create a job. The same key with the same spec gives the same job again."""
        if idempotency_key is None:
            idempotency_key = uuid.uuid4().hex  # one for all sendings of this call
        headers = {"Idempotency-Key": arguments.header("idempotency_key", idempotency_key)}
        return decode(
            Job, self._session.send_json("POST", "/v1/jobs", _body(spec), headers=headers)
        )

    def plan(self, spec: JobSpec | Mapping[str, Any]) -> Plan:
        """What `submit` would run, without running it."""
        return decode(Plan, self._session.send_json("POST", "/v1/plans", _body(spec)))

    def job(self, job_id: str) -> Job:
        """A job as it stands."""
        return decode(Job, self._session.send("GET", _job(job_id)))

    def jobs(
        self, *, status: Sequence[JobStatus] | JobStatus = (), label: str | None = None
    ) -> Iterator[Job]:
        """Jobs, newest first, fetched page by page; `label` is KEY=VALUE."""
        params: Params = {
            "status": arguments.texts("status", status),
            "label": arguments.optional(arguments.text, "label", label),
        }
        return self._pages(Page[Job], "/v1/jobs", params)

    def watch(
        self,
        job_id: str,
        *,
        timeout: float | None = None,
        interval: float = 0.25,
        on_silence: Tell = _ignore,
    ) -> Iterator[Job]:
        """The job each time it has changed, looked at every `interval` seconds, until it ends.

        The last one is terminal; raises NotFinished after `timeout` seconds, or when the service
        is gone for longer than the client's patience. `on_silence` is told when it goes.
        """
        return watch_job(
            lambda: self.job(job_id),
            timeout_seconds=arguments.optional(arguments.seconds, "timeout", timeout),
            interval_seconds=arguments.seconds("interval", interval),
            patience=self._patience(on_silence),
            sleep=self._sleep,
        )

    def wait(self, job_id: str, *, timeout: float | None = None, interval: float = 0.25) -> Job:
        """The job once it has succeeded; raises JobFailed, JobCancelled or NotFinished."""
        *_, last = self.watch(job_id, timeout=timeout, interval=interval)
        return succeeded(last)

    def events(
        self,
        job_id: str,
        *,
        after: int = 0,
        follow: bool = True,
        on_silence: Tell = _ignore,
    ) -> Iterator[Event]:
        """What happened to a job after event `after`; with `follow`, also what is to come.

        A followed stream ends with the event `end`, and reconnects by itself until then.
        """
        path = f"{_job(job_id)}/events"
        after = arguments.whole("after", after)
        if follow:
            return follow_events(self._session, path, after, self._patience(on_silence))
        return self._pages(Page[Event], path, {"after": after or None})

    def steps(
        self, job_id: str, *, after: int | None = None, max_points: int | None = None
    ) -> Iterator[StepRow]:
        """Step rows in order: all after `after`, or at most `max_points`, first and last among."""
        params: Params = {
            "after": arguments.optional(arguments.whole, "after", after),
            "max_points": arguments.optional(arguments.whole, "max_points", max_points),
        }
        return self._pages(Page[StepRow], f"{_job(job_id)}/steps", params)

    def last_step(self, job_id: str) -> StepRow | None:
        """The newest step row; None before the first step."""
        rows = list(self.steps(job_id, max_points=2))
        return rows[-1] if rows else None

    def checkpoints(self, job_id: str) -> list[Checkpoint]:
        """States that the job can go on from, newest first."""
        return list(self._pages(Page[Checkpoint], f"{_job(job_id)}/checkpoints", {}))

    def examples(
        self, job_id: str, *, order: LedgerOrder = "mean_norm", limit: int | None = 20
    ) -> Ledger:
        """What the training examples did so far, the first `limit` in that order; None for all."""
        if limit is not None:
            limit = arguments.whole("limit", limit, least=1)
        arguments.text("order", order)
        data: list[LedgerEntry] = []
        after: str | None = None
        while True:
            most = PAGE if limit is None else min(PAGE, limit - len(data))
            params: Params = {"order": order, "limit": most, "after": after}
            page = decode(
                Ledger, self._session.send("GET", f"{_job(job_id)}/examples", params=params)
            )
            data += page.data
            after = page.next
            if after is None or len(data) == limit:
                return page.model_copy(update={"data": data})

    def step_examples(
        self, job_id: str, step: int, *, order: ShareOrder = "share", limit: int = 100
    ) -> StepExamples:
        """Who drove a step: the service computes it again, which may take a while."""
        path = f"{_job(job_id)}/steps/{arguments.whole('step', step, least=1)}/examples"
        params: Params = {
            "order": arguments.text("order", order),
            "limit": arguments.whole("limit", limit, least=1),
        }
        return decode(
            StepExamples,
            self._session.send("GET", path, params=params, timeout_seconds=self._long),
        )

    def cancel(self, job_id: str) -> Job:
        """Cancel at the next step boundary; Conflict if the job has ended."""
        return decode(Job, self._session.send("POST", f"{_job(job_id)}/cancel"))

    def pause(self, job_id: str) -> Job:
        """Checkpoint and stop at the next step boundary; `resume` goes on from there."""
        return decode(Job, self._session.send("POST", f"{_job(job_id)}/pause"))

    def resume(self, job_id: str) -> Job:
        """Queue a paused job again; it ends with the same bits as if it had never paused."""
        return decode(Job, self._session.send("POST", f"{_job(job_id)}/resume"))

    def delete(self, job_id: str) -> None:
        """Forget a job that has ended, with its steps and checkpoints."""
        self._session.send("DELETE", _job(job_id))

    def parameters(
        self,
        job_id: str,
        *,
        format: ParametersFormat = "safetensors",  # noqa: A002 (what the query calls it too)
        which: Kept | None = None,
        step: int | None = None,
        fold: bool = False,
        precision: Precision | None = None,
    ) -> bytes:
        """Trained parameters: those that the job keeps, or `which`, or those after `step` steps.

        With `fold`, mean and deviation of standardized inputs are worked into the first layer, so
        that the network takes raw inputs; InvalidRequest if that layer cannot take them up, or
        not in this `precision` (default the job's): where means are many deviations from 0, only
        float64 can hold them. Where the newest checkpoint is damaged, those before it, with a
        UserWarning.
        """
        params: Params = {
            "format": arguments.text("format", format),
            "which": arguments.optional(arguments.text, "which", which),
            "step": arguments.optional(arguments.whole, "step", step),
            "fold": "true" if fold else None,
            "precision": arguments.optional(arguments.text, "precision", precision),
        }
        path = f"{_job(job_id)}/parameters"
        headers = {"Accept": "*/*"}
        answer = self._session.send(
            "GET", path, params=params, headers=headers, timeout_seconds=self._long
        )
        if warned := answer.headers.get("Warning"):
            warnings.warn(warned.split('"')[1] if '"' in warned else warned, stacklevel=2)
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
    ) -> Path:
        """Write the parameters to a file, in the format of its name: .safetensors or .npz.

        `format` decides for files with other names. Parameters that are there are overwritten;
        anything else is FileFailed.
        """
        target = arguments.path("path", path)
        kind = format or parameters_format(target)
        check_target(target)
        content = self.parameters(
            job_id, format=kind, which=which, step=step, fold=fold, precision=precision
        )
        write_atomically(target, content)
        return target

    # datasets

    def put_dataset(
        self,
        name: str,
        content: str | Path | bytes | bytearray | memoryview,
        *,
        replace: bool = False,
    ) -> Dataset:
        """Store an npz (a path or its bytes: inputs, targets, optional weights) under a name.

        The same content again changes nothing; other content is a Conflict unless `replace`.
        """
        if isinstance(content, bytearray | memoryview):
            content = bytes(content)
        elif not isinstance(content, bytes):
            if hasattr(content, "read"):
                raise InvalidArgument(
                    f"content is an open {type(content).__name__}; expected a path, or the bytes: "
                    "content.read()."
                )
            content = arguments.path("content", content)
            refuse_other_formats(content)
        response = self._session.send(
            "PUT",
            _dataset(name),
            params={"replace": "true" if replace else None},
            body=content,
            headers={"Content-Type": "application/x-npz"},
            timeout_seconds=self._long,
        )
        return decode(Dataset, response)

    def put_arrays(
        self, name: str, inputs: Any, targets: Any, weights: Any = None, *, replace: bool = False
    ) -> Dataset:
        """Store arrays as a dataset: inputs (n, …), targets (n,) or (n, out), weights (n,)."""
        return self.put_dataset(name, npz_bytes(inputs, targets, weights), replace=replace)

    def dataset(self, name: str) -> Dataset:
        """A dataset's shape, kind and digest."""
        return decode(Dataset, self._session.send("GET", _dataset(name)))

    def datasets(self) -> Iterator[Dataset]:
        """All datasets, fetched page by page."""
        return self._pages(Page[Dataset], "/v1/datasets", {})

    def delete_dataset(self, name: str) -> None:
        """Forget a dataset; Conflict while a job uses it."""
        self._session.send("DELETE", _dataset(name))

    # the question, and the service itself

    def gradients(self, request: GradientsRequest | Mapping[str, Any]) -> GradientsResponse:
        """The mean gradient of one minibatch, and what each shortcut makes of it."""
        response = self._session.send_json(
            "POST", "/v1/gradients", _body(request), timeout_seconds=self._long
        )
        return decode(GradientsResponse, response)

    def version(self) -> Version:
        """The service's version, and what decides the bits of a run there."""
        return decode(Version, self._session.send("GET", "/v1/version"))

    def ready(self) -> bool:
        """Whether the service takes jobs now; False too where nobody answers. Asks only once."""
        return self._session.answers("/readyz")

    def _patience(self, tell: Tell) -> Patience:
        return Patience(self._patience_seconds, tell, self._clock)

    def _pages(self, kind: type[Page[Item]], path: str, params: Params) -> Iterator[Item]:
        after: str | None = None
        while True:
            query = params if after is None else {**params, "after": after}
            page = decode(kind, self._session.send("GET", path, params=query))
            yield from page.data
            if page.next is None:
                return
            after = page.next


def _body(value: Any) -> Any:
    """What was set, no more: the service's own defaults hold for the rest."""
    if isinstance(value, JobSpec | GradientsRequest):
        return value.model_dump(mode="json", exclude_unset=True)
    if isinstance(value, Mapping):
        return value
    hint = f": batchgrad.load_job({value!r:.60}) reads a file" * isinstance(value, str | Path)
    raise InvalidArgument(f"a spec is keys and values, got a {type(value).__name__}{hint}.")


def _job(job_id: str) -> str:
    return f"/v1/jobs/{arguments.segment('job_id', job_id)}"


def _dataset(name: str) -> str:
    return f"/v1/datasets/{arguments.segment('name', name)}"
