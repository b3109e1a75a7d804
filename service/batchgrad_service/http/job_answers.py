"""The JSON of jobs as they were last read: whoever watches a job costs no query of the database."""

import threading
from collections import OrderedDict

from batchgrad_service.store import Store

REMEMBERED = 256
"""Jobs whose JSON is kept."""


class JobAnswers:
    """Remembers the JSON of a job until the next commit about it. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._known: OrderedDict[str, bytes] = OrderedDict()
        self._commits = 0
        store.after_commits(self._forget)

    def remembered(self, job_id: str) -> bytes | None:
        """The job's JSON, without waiting; None if it is not known."""
        with self._lock:
            return self._known.get(job_id)

    def read(self, job_id: str) -> bytes:
        """The job's JSON. Raises NotFoundError."""
        with self._lock:
            commits = self._commits
        content = self._store.job(job_id).model_dump_json().encode()
        with self._lock:
            if commits == self._commits:  # else it may be of before a commit
                self._known[job_id] = content
                while len(self._known) > REMEMBERED:
                    self._known.popitem(last=False)
        return content

    def _forget(self, job_id: str) -> None:
        with self._lock:
            self._commits += 1
            self._known.pop(job_id, None)
