"""/v1/uploads: parts, resumption, wrong digests, two clients, restarts, expiry, a full disk."""

import asyncio
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from batchgrad.contract import UploadRequest
from batchgrad_service.datasets import uploaded_files
from batchgrad_service.datasets.uploaded_files import KEPT_SECONDS, UploadedFiles
from batchgrad_service.disk_space import DiskSpace
from batchgrad_service.problems import ConflictError, InsufficientStorageError, InvalidError
from tests.service.building import problem
from tests.service.conftest import Bench

CONTENT = bytes(range(256)) * 20


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


DIGEST = digest_of(CONTENT)
PATH = f"/v1/uploads/{DIGEST}"


def begin(http: TestClient, content: bytes = CONTENT, **changes: Any) -> Any:
    body = {"digest": digest_of(content), "bytes": len(content), **changes}
    return http.post("/v1/uploads", json=body)


def send(http: TestClient, content: Any, offset: int, path: str = PATH) -> Any:
    return http.patch(path, content=content, headers={"Upload-Offset": str(offset)})


def names(bench: Bench) -> list[str]:
    return sorted(path.name for path in (bench.data_dir / "uploads").iterdir())


def test_a_file_arrives_in_parts(bench: Bench, http: TestClient) -> None:
    with capture_logs() as logged:
        begun = begin(http)
        send(http, b"", 0)
    assert [line["log_level"] for line in logged] == ["info", "debug"]
    assert begun.status_code == 201
    assert begun.headers["Location"] == PATH
    assert begun.json() == {"digest": DIGEST, "bytes": 5120, "received": 0}
    assert send(http, CONTENT[:2000], 0).json()["received"] == 2000
    assert http.get(PATH).json()["received"] == 2000
    assert begin(http).status_code == 200
    assert begin(http).json()["received"] == 2000
    assert send(http, CONTENT[2000:], 2000).json()["received"] == 5120
    assert names(bench) == [DIGEST.removeprefix("sha256:")]
    assert begin(http).json() == {"digest": DIGEST, "bytes": 5120, "received": 5120}
    assert http.delete(PATH).status_code == 204
    assert names(bench) == []
    assert problem(http.get(PATH), 404)["code"] == "upload_not_found"
    assert problem(http.delete(PATH), 404)["code"] == "upload_not_found"


def test_an_empty_file_is_complete_at_once(http: TestClient) -> None:
    assert begin(http, b"").json()["received"] == 0
    assert begin(http, b"").status_code == 200
    wrong = begin(http, b"", digest=DIGEST)
    assert problem(wrong, 422)["code"] == "wrong_digest"


def test_bytes_must_continue_where_the_file_ends(http: TestClient) -> None:
    begin(http)
    send(http, CONTENT[:100], 0)
    for offset in (0, 99, 101):
        wrong = problem(send(http, b"x", offset), 409)
        assert wrong["code"] == "wrong_offset"
        assert "go on at 100" in wrong["detail"]
    assert "upload-offset" in problem(http.patch(PATH, content=b"x"), 422)["detail"]
    assert problem(send(http, CONTENT[99:], 100), 422)["code"] == "upload_too_long"
    assert http.get(PATH).json()["received"] == 100
    unknown = f"/v1/uploads/sha256:{'0' * 64}"
    assert problem(send(http, b"x", 0, unknown), 404)["code"] == "upload_not_found"


def test_what_arrived_before_a_lost_connection_stays(
    bench: Bench, http: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchgrad_service.routes.data.uploads.WRITE_BYTES", 1000)
    begin(http)
    messages = [
        {"type": "http.request", "body": CONTENT[:2000], "more_body": True},
        {"type": "http.request", "body": CONTENT[2000:2100], "more_body": True},
        {"type": "http.disconnect"},
    ]
    scope = {
        "type": "http",
        "method": "PATCH",
        "path": PATH,
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1"), (b"upload-offset", b"0")],
    }

    async def receive() -> Any:
        return messages.pop(0)

    async def ignore(_message: Any) -> None:
        pass

    asyncio.run(bench.app(scope, receive, ignore))
    received = begin(http).json()["received"]
    assert received == 2000
    assert send(http, CONTENT[received:], received).json()["received"] == 5120


def test_a_wrong_digest_removes_the_file(bench: Bench, http: TestClient) -> None:
    begin(http)
    wrong = problem(send(http, b"x" * 5120, 0), 422)
    assert wrong["code"] == "wrong_digest"
    assert digest_of(b"x" * 5120) in wrong["detail"]
    assert names(bench) == []
    begin(http)  # again, with the right bytes
    assert send(http, CONTENT, 0).json()["received"] == 5120


def test_two_clients_may_send_the_same_file(http: TestClient) -> None:
    begin(http)
    send(http, CONTENT[:1000], 0)  # by one client
    assert begin(http).json()["received"] == 1000  # another
    assert send(http, CONTENT[1000:3000], 1000).status_code == 200
    assert send(http, CONTENT[1000:2000], 1000).status_code == 409
    assert send(http, CONTENT[3000:], 3000).json()["received"] == 5120
    assert problem(begin(http, bytes=7), 409)["code"] == "upload_length_differs"


def test_lengths_and_numbers_are_limited(
    make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench(max_dataset_bytes=5119)
    assert "raise max_dataset_bytes" in problem(begin(bench.http), 413)["detail"]
    assert begin(bench.http, bytes=5119).status_code == 201
    assert bench.http.delete(PATH).status_code == 204
    monkeypatch.setattr(uploaded_files, "MAX_FILES", 2)
    assert [begin(bench.http, text).status_code for text in (b"1", b"2", b"3")] == [201, 201, 503]
    assert begin(bench.http, b"1").status_code == 200


def test_of_many_complete_files_the_longest_unused_makes_place(
    make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    http = make_bench().http
    monkeypatch.setattr(uploaded_files, "MAX_FILES", 2)
    for text in (b"1", b"2", b"3"):
        assert begin(http, text).status_code == 201
        assert send(http, text, 0, f"/v1/uploads/{digest_of(text)}").status_code == 200
    here = [http.get(f"/v1/uploads/{digest_of(text)}").status_code for text in (b"1", b"2", b"3")]
    assert here == [404, 200, 200]


class Files:
    """UploadedFiles on a disk with `free` bytes, at `now`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.free = 10_000
        self.measure: Callable[[], int] = lambda: self.free
        self.now = 0.0

    def open(self) -> UploadedFiles:
        disk = DiskSpace([self.folder], 1000, free=lambda _: self.measure())
        return UploadedFiles(self.folder, disk, max_bytes=9000, clock=lambda: self.now)

    def path(self, digest: str) -> Path:
        return self.folder / "uploads" / digest.removeprefix("sha256:")

    def names(self) -> list[str]:
        return sorted(path.name[:4] for path in (self.folder / "uploads").iterdir())


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def put(opened: UploadedFiles, content: bytes) -> str:
    digest = digest_of(content)
    opened.begin(UploadRequest(digest=digest, bytes=len(content)))
    opened.append(digest, 0, content)
    opened.settle(digest)
    return digest


def test_an_upload_goes_on_after_a_restart(files: Files) -> None:
    request = UploadRequest(digest=DIGEST, bytes=5120)
    before = files.open()
    before.begin(request)
    before.append(DIGEST, 0, CONTENT[:3000])
    after = files.open()
    files.free = 1000 + 2120  # enough for the rest
    assert after.begin(request)[0].received == 3000
    after.append(DIGEST, 3000, CONTENT[3000:])
    last = files.open()  # it ended before it had hashed the whole file
    with pytest.raises(InvalidError, match="5120 of 5120 bytes"):
        last.check_complete(DIGEST)
    assert last.begin(request)[0].received == 5120
    assert last.check_complete(DIGEST) == 5120


def test_bytes_that_the_disk_has_changed_are_found(files: Files) -> None:
    before = files.open()
    before.begin(UploadRequest(digest=DIGEST, bytes=5120))
    before.append(DIGEST, 0, CONTENT[:3000])
    (part,) = (files.folder / "uploads").iterdir()
    part.write_bytes(bytes(3000))  # as a power cut may leave it
    after = files.open()
    after.append(DIGEST, 3000, CONTENT[3000:])
    with pytest.raises(InvalidError, match="Send it again"):
        after.settle(DIGEST)
    assert files.names() == []


def test_unused_files_are_removed_after_a_day(files: Files) -> None:
    opened = files.open()
    digest = put(opened, b"whole")
    opened.begin(UploadRequest(digest=DIGEST, bytes=5120))
    files.now = max(path.stat().st_mtime for path in (files.folder / "uploads").iterdir())
    opened.clean()
    assert len(files.names()) == 2
    files.now += KEPT_SECONDS + 1
    with opened.using(digest):
        opened.clean()
        assert files.names() == [digest[7:11]]
    os.utime(files.path(digest), (0, 0))
    files.open().clean()
    assert files.names() == []


def test_each_use_keeps_a_file_for_another_day(files: Files) -> None:
    opened = files.open()
    path = files.path(put(opened, CONTENT))
    os.utime(path, (50, 50))
    assert opened.begin(UploadRequest(digest=DIGEST, bytes=5120))[0].received == 5120
    assert path.stat().st_mtime > 50
    os.utime(path, (50, 50))
    with opened.using(DIGEST):
        pass
    assert path.stat().st_mtime > 50


def test_a_file_is_read_while_it_is_there_and_stays_so_long(files: Files) -> None:
    opened = files.open()
    with pytest.raises(InvalidError, match="There is no upload"), opened.using(DIGEST):
        pytest.fail("nothing is there")
    assert files.names() == []
    put(opened, CONTENT)
    with opened.using(DIGEST), pytest.raises(ConflictError, match="An operation reads"):
        opened.remove(DIGEST)
    opened.remove(DIGEST)
    assert files.names() == []


def test_a_full_disk_first_loses_files_that_nobody_reads(files: Files) -> None:
    opened = files.open()
    first, second, third = (put(opened, text) for text in (b"1", b"2", b"3"))
    for age, digest in enumerate((third, second, first)):
        os.utime(files.path(digest), (100 - age, 100 - age))
    part = digest_of(b"part")
    opened.begin(UploadRequest(digest=part, bytes=4))
    files.free = 1500
    opened.make_room(400)
    assert len(files.names()) == 4
    with opened.using(first), pytest.raises(InsufficientStorageError, match="has 0 MiB free"):
        opened.make_room(5120)
    assert files.names() == sorted([first[7:11], part[7:11]])
    with pytest.raises(InsufficientStorageError):
        opened.begin(UploadRequest(digest=DIGEST, bytes=5120))


def test_a_disk_that_frees_space_keeps_the_other_files(files: Files) -> None:
    opened = files.open()
    old, new = put(opened, b"1"), put(opened, b"2")
    os.utime(files.path(old), (100, 100))
    folder = files.folder / "uploads"
    files.measure = lambda: 10_000 if len(list(folder.iterdir())) == 1 else 1500
    opened.make_room(5120)
    assert files.names() == [new[7:11]]


def test_a_disk_that_fills_up_refuses_the_next_part(make_bench: Callable[..., Bench]) -> None:
    free = [10**9]
    bench = make_bench(disk=DiskSpace([Path("/")], 1000, free=lambda _: free[0]))
    begin(bench.http)
    assert send(bench.http, CONTENT[:1000], 0).status_code == 200
    free[0] = 1200
    assert problem(send(bench.http, CONTENT[1000:], 1000), 507)["code"] == "disk_full"
    free[0] = 10**9
    assert send(bench.http, CONTENT[1000:], 1000).json()["received"] == 5120


def test_a_body_of_unknown_length_cannot_fill_the_disk(make_bench: Callable[..., Bench]) -> None:
    free, content = [10**9], bytes(3 * 2**20)
    bench = make_bench(disk=DiskSpace([Path("/")], 1000, free=lambda _: free[0]))
    begin(bench.http, content)
    free[0] = 2 * 2**20
    path = f"/v1/uploads/{digest_of(content)}"
    assert problem(send(bench.http, iter([content]), 0, path), 507)["code"] == "disk_full"
    assert bench.http.get(path).json()["received"] == 0
