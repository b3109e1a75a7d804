"""Create, list, steer and delete jobs."""

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

from batchgrad import timeouts
from batchgrad.contract import (
    GradientsRequest,
    GradientsResponse,
    Job,
    JobSpec,
    JobStatus,
    Page,
    Plan,
)
from batchgrad.data.code import open_code
from batchgrad.errors import InvalidArgument
from batchgrad.http.pages import pages
from batchgrad.http.requests import job_path, spec_body
from batchgrad.http.responses import decode
from batchgrad.http.session import Params
from batchgrad.http.uploads import no_progress
from batchgrad.methods.operations import OperationMethods
from batchgrad.parsing import arguments


class JobMethods(OperationMethods):
    """The requests for jobs, and the question about one minibatch."""

    async def submit(
        self,
        spec: JobSpec | Mapping[str, Any],
        *,
        code: str | Path | None = None,
        idempotency_key: str | None = None,
    ) -> Job:
        """Create a job; the same key with the same spec returns the same job.

        `code` is a folder, a Python file, a wheel or a zip with the package that `model.torch`
        names: it is sent, and becomes the spec's `model.code`.
        """
        body = await self._with_code(spec_body(spec), code)
        if idempotency_key is None:
            idempotency_key = uuid.uuid4().hex  # one for all sendings of this call
        headers = {"Idempotency-Key": arguments.header("idempotency_key", idempotency_key)}
        answer = await self._session.send_json(
            "POST", "/v1/jobs", body, headers=headers, timeout=_answer_seconds(body)
        )
        return decode(Job, answer)

    async def plan(
        self, spec: JobSpec | Mapping[str, Any], *, code: str | Path | None = None
    ) -> Plan:
        """What a job with this spec would do; creates no job. `code` is that of `submit`."""
        body = await self._with_code(spec_body(spec), code)
        answer = await self._session.send_json(
            "POST", "/v1/plans", body, timeout=_answer_seconds(body)
        )
        return decode(Plan, answer)

    async def _with_code(self, body: Any, code: str | Path | None) -> Any:
        """A spec with the digest of its code, which is sent."""
        if code is None:
            return body
        model = body.get("model")
        if not (isinstance(model, Mapping) and model.get("torch")):
            raise InvalidArgument(
                "code is for a spec whose model names a function: model: {torch: package:build}."
            )
        with ExitStack() as stack:
            source = await self._session.call(lambda: stack.enter_context(open_code(code)))
            digest = await self._uploaded(
                source, timeout=timeouts.LONG_REQUEST, on_progress=no_progress
            )
        if model.get("code") not in {None, digest}:
            raise InvalidArgument(
                f"code has the digest {digest}, but model.code is {model['code']!r:.80}: remove "
                "one of them."
            )
        return {**body, "model": {**model, "code": digest}}

    async def job(self, job_id: str) -> Job:
        """The current state of a job."""
        return decode(Job, await self._session.send("GET", job_path(job_id)))

    def jobs(
        self,
        *,
        status: Sequence[JobStatus] | JobStatus = (),
        label: str | None = None,
        search: str | None = None,
    ) -> AsyncIterator[Job]:
        """Jobs, newest first, fetched page by page; `label` is KEY=VALUE.

        Each word of `search` is a part of the job's name, id, dataset, or a label KEY=VALUE.
        """
        params: Params = {
            "status": arguments.texts("status", status),
            "label": arguments.optional(arguments.text, "label", label),
            "search": arguments.optional(arguments.text, "search", search),
        }
        return pages(self._session, Page[Job], "/v1/jobs", params)

    async def cancel(self, job_id: str) -> Job:
        """Cancel at the next step boundary; Conflict if the job has ended."""
        return decode(Job, await self._session.send("POST", f"{job_path(job_id)}/cancel"))

    async def pause(self, job_id: str) -> Job:
        """Write a checkpoint and stop at the next step boundary; `resume` goes on from there."""
        return decode(Job, await self._session.send("POST", f"{job_path(job_id)}/pause"))

    async def resume(
        self, job_id: str, *, more_epochs: int | None = None, more_steps: int | None = None
    ) -> Job:
        """Queue a paused job again; its result has the same bits as without the pause.

        With `more_epochs` or `more_steps`: queue a job that has ended, to train so much further
        from its newest checkpoint, as the same job.
        """
        path = f"{job_path(job_id)}/resume"
        more = {
            "more_epochs": arguments.optional(_positive, "more_epochs", more_epochs),
            "more_steps": arguments.optional(_positive, "more_steps", more_steps),
        }
        body = {name: value for name, value in more.items() if value is not None}
        if not body:
            return decode(Job, await self._session.send("POST", path))
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        return decode(Job, await self._session.send_json("POST", path, body, headers=headers))

    async def delete(self, job_id: str) -> None:
        """Delete a job that has ended, with its steps and checkpoints."""
        await self._session.send("DELETE", job_path(job_id))

    async def gradients(
        self,
        request: GradientsRequest | Mapping[str, Any],
        *,
        timeout: float | None = timeouts.LONG_REQUEST,
    ) -> GradientsResponse:
        """The mean gradient of one minibatch, and each shortcut's gradient and error."""
        timeout = arguments.timeout("timeout", timeout)
        response = await self._session.send_json(
            "POST", "/v1/gradients", spec_body(request), timeout=timeout
        )
        return decode(GradientsResponse, response)


def _answer_seconds(body: Any) -> float | Literal["default"]:
    """How long to wait for the answer to a spec: a PyTorch task is built and examined first."""
    model = body.get("model") if isinstance(body, Mapping) else None
    is_task = isinstance(model, Mapping) and model.get("torch") is not None
    return timeouts.LONG_REQUEST if is_task else "default"


def _positive(name: str, value: Any) -> int:
    return arguments.whole(name, value, least=1)
