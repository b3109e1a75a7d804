"""A service of uploads and imports in memory, with faults on request."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import httpx2

Fault = Callable[["FakeUploads", httpx2.Request], httpx2.Response | None]


class FakeUploads:
    """Answers as the service does; each of `faults` handles one PATCH instead, in order.

    A fault returns an answer, raises an error of the network, or returns None to do nothing.
    """

    def __init__(self, kit: Any, *faults: Fault) -> None:
        self.kit = kit
        self.faults = list(faults)
        self.parts: dict[str, bytes] = {}
        self.lengths: dict[str, int] = {}
        self.imports: list[dict[str, Any]] = []
        self.operations: list[dict[str, Any]] = []
        """The answers to GET of an operation, in order; the last one is repeated."""

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            body = json.loads(request.content)
            self.lengths.setdefault(body["digest"], body["bytes"])
            self.parts.setdefault(body["digest"], b"")
            return self.upload(body["digest"], 201)
        if request.method == "PATCH":
            fault = self.faults.pop(0) if self.faults else None
            if fault is not None and (answer := fault(self, request)) is not None:
                return answer
            return self.patch(request)
        if request.method == "PUT":
            self.imports.append(json.loads(request.content))
            return self.kit.answer(202, self.operations[0])
        return self.kit.answer(
            200, self.operations.pop(0) if len(self.operations) > 1 else self.operations[0]
        )

    def patch(self, request: httpx2.Request, received: int | None = None) -> httpx2.Response:
        """Take the first `received` bytes of a PATCH, or all."""
        digest = request.url.path.rpartition("/")[2]
        if int(request.headers["Upload-Offset"]) != len(self.parts[digest]):
            return self.kit.problem(409, "wrong_offset", "Go on elsewhere.")
        self.parts[digest] += request.content[:received]
        return self.upload(digest)

    def upload(self, digest: str, status: int = 200) -> httpx2.Response:
        content, length = self.parts[digest], self.lengths[digest]
        if len(content) == length and digest != f"sha256:{hashlib.sha256(content).hexdigest()}":
            return self.kit.problem(422, "wrong_digest", "Changed.")
        body = {"digest": digest, "bytes": length, "received": len(content)}
        return self.kit.answer(status, body)

    def operation(self, status: str, **more: Any) -> dict[str, Any]:
        """An import; one that has succeeded has a dataset."""
        ended = status not in {"waiting", "running"}
        return {
            "id": "operation_1",
            "kind": "import",
            "status": status,
            "rows_done": 0,
            "rows": None,
            "created_at": self.kit.TIME,
            "finished_at": self.kit.TIME if ended else None,
            "dataset": self.kit.DATASET if status == "succeeded" else None,
            **more,
        }
