"""The JSON of jobs as they were last read: whoever watches a job costs no query of the database."""

import threading
from collections import OrderedDict
from typing import NamedTuple

from starlette.types import ASGIApp, Receive, Scope, Send

from batchgrad.contract import Job
from batchgrad_service.store import Store
from batchgrad_service.store.database import ReadJob

REMEMBERED = 256
"""Jobs whose JSON is kept."""

PATH = "/v1/jobs/"


class _Route(NamedTuple):
    """What logs and metrics read of a route."""

    path: str


ROUTE = _Route(f"{PATH}{{job_id}}")


class JobAnswers:
    """Remembers the JSON of jobs that were asked for, until the next commit about them.

    A commit that brings the job along keeps it remembered: its JSON is made when somebody asks.
    Thread-safe.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._known: OrderedDict[str, bytes | ReadJob] = OrderedDict()
        self._commits = 0
        store.after_commits(self._committed)

    def remembered(self, job_id: str) -> bytes | None:
        """The job's JSON, without waiting; None if it is not known."""
        with self._lock:
            known = self._known.get(job_id)
        if known is None or isinstance(known, bytes):
            return known
        content = _json(known())
        with self._lock:
            if self._known.get(job_id) is known:  # else there was a commit
                self._known[job_id] = content
        return content

    def read(self, job_id: str) -> bytes:
        """The job's JSON. Raises NotFoundError."""
        with self._lock:
            commits = self._commits
        content = _json(self._store.job(job_id))
        with self._lock:
            if commits == self._commits:  # else it may be of before a commit
                self._known[job_id] = content
                while len(self._known) > REMEMBERED:
                    self._known.popitem(last=False)
        return content

    def _committed(self, job_id: str, job: ReadJob | None) -> None:
        with self._lock:
            self._commits += 1
            if job is None:
                self._known.pop(job_id, None)
            elif job_id in self._known:
                self._known[job_id] = job


def _json(job: Job) -> bytes:
    return job.model_dump_json().encode()


class RememberedJobs:
    """ASGI middleware: answers GET of a remembered job without the framework's routing.

    The route answers what is not remembered; both answers have the same bytes.
    """

    def __init__(self, app: ASGIApp, answers: JobAnswers) -> None:
        self._app = app
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        path = scope["path"] if scope["type"] == "http" and scope["method"] == "GET" else ""
        job_id = path[len(PATH) :] if path.startswith(PATH) else ""
        content = self._answers.remembered(job_id) if job_id else None
        if content is None:
            await self._app(scope, receive, send)
            return
        scope["route"], scope["path_params"] = ROUTE, {"job_id": job_id}
        headers = [
            (b"content-length", str(len(content)).encode()),
            (b"content-type", b"application/json"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})
