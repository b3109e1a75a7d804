"""Upload whole files and wait for operations."""

import time
from collections.abc import Callable

from starlette.testclient import TestClient

from batchgrad.contract import Operation
from tests.service.test_uploads import begin, digest_of, send

PATIENCE = 120.0  # a new checkout compiles its loops first


def upload(http: TestClient, content: bytes) -> str:
    """Send a whole file; return its digest."""
    digest = digest_of(content)
    begin(http, content)
    assert send(http, content, 0, f"/v1/uploads/{digest}").status_code == 200
    return digest


def ended(read: Callable[[], Operation]) -> Operation:
    """The operation once it has ended."""
    deadline = time.monotonic() + PATIENCE
    while (operation := read()).status in {"waiting", "running"}:
        assert time.monotonic() < deadline, operation
        time.sleep(0.01)
    return operation
