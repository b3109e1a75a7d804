"""Operations: processes that crash, hang or take too much, cancelling, stopping, results."""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from batchgrad.contract import ImportRequest, Operation, OperationKind, UploadedFile
from batchgrad_service.disk_space import DiskSpace
from batchgrad_service.operations import operations as module
from batchgrad_service.operations.examples import StoredExamples
from batchgrad_service.operations.imports import ImportWork
from batchgrad_service.operations.operations import Operations
from batchgrad_service.operations.predictions import EvaluationWork
from batchgrad_service.operations.work import Ask, Result
from batchgrad_service.problems import NotFoundError, UnavailableError
from batchgrad_service.questions.forker import Forker
from batchgrad_service.questions.pool import QuestionPool
from batchgrad_workers.system.processes import is_alive
from tests.service.building import NOW, npz
from tests.service.test_uploads import digest_of
from tests.service.waiting import PATIENCE, ended

FILE = npz(inputs=np.arange(12, dtype="f4").reshape(4, 3), targets=np.array([0, 1, 2, 1]))
OTHER = npz(inputs=np.ones((4, 3), "f4"), targets=np.array([0, 1, 2, 1]))


class Do(BaseModel):
    """A task of `misbehaving_operations`."""

    do: str
    path: str = ""


@dataclass
class Misbehaving:
    """Work whose process does `do`."""

    do: str
    path: str = ""
    key: str = ""
    read_bytes: int = 0
    written_bytes: int = 2**22
    kind: OperationKind = "import"
    answers: list[bytes] = field(default_factory=list)

    def run(self, ask: Ask) -> Result:
        self.answers.append(ask(Do(do=self.do, path=self.path)))
        return Result()


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QuestionPool]:
    command = [sys.executable, "-m", "tests.service.misbehaving_operations"]
    made = QuestionPool(
        tmp_path_factory.mktemp("pool"),
        memory_bytes=64 * 2**20,
        cpu_seconds=1.0,
        forker=Forker(command),
    )
    yield made
    made.stop()


class Clock:
    now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def disk() -> DiskSpace:
    return DiskSpace([Path("/")], 0)


@pytest.fixture
def operations(pool: QuestionPool, disk: DiskSpace) -> Iterator[Operations]:
    made = Operations(pool, disk, clock=Clock())
    yield made
    made.stop()
    made.join()


def run(operations: Operations, work: Misbehaving) -> Operation:
    begun = operations.start(work)
    return ended(lambda: operations.get(begun.id))


def process_of(operations: Operations, pool: QuestionPool, begun: Operation) -> int:
    """The id of the process that does an operation, as soon as it has one."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for busy in list(pool._busy):
            if busy.handle is not None:
                text = Path(f"/proc/self/fdinfo/{busy.handle}").read_text()
                return int(text.partition("Pid:")[2].split()[0])
        time.sleep(0.01)
    pytest.fail(f"no process: {operations.get(begun.id)}")


def test_each_operation_has_a_process_of_its_own(operations: Operations) -> None:
    first, second = Misbehaving("answer"), Misbehaving("answer")
    assert run(operations, first).rows_done == 3
    assert run(operations, second).status == "succeeded"
    assert first.answers != second.answers


@pytest.mark.parametrize(
    ("do", "status", "code", "text"),
    [
        ("grow", 422, "request_memory_exceeded", "64 MiB"),
        ("burn", 422, "request_cpu_time_exceeded", "0.3 s of CPU time"),
        ("crash", 422, "operation_crashed", "SIGSEGV"),
        ("die", 503, "machine_exhausted", "killed"),
        ("refuse", 409, "too_late", "Somebody was faster."),
        ("fail", 500, "internal_error", "log"),
    ],
)
def test_what_a_process_does_wrong_is_its_operation_s_problem(
    operations: Operations,
    monkeypatch: pytest.MonkeyPatch,
    do: str,
    status: int,
    code: str,
    text: str,
) -> None:
    monkeypatch.setattr(module, "LEAST_CPU_SECONDS", 0.3 if do == "burn" else PATIENCE)
    failed = run(operations, Misbehaving(do))
    assert failed.status == "failed"
    assert failed.problem is not None
    assert (failed.problem.status, failed.problem.code) == (status, code)
    assert text in failed.problem.detail
    assert run(operations, Misbehaving("answer")).status == "succeeded"


def test_a_process_writes_no_longer_file_than_it_may(
    operations: Operations, tmp_path: Path
) -> None:
    failed = run(operations, Misbehaving("write", path=str(tmp_path / "file")))
    assert failed.status == "failed"
    assert (tmp_path / "file").stat().st_size == 2**22


def test_a_running_operation_is_cancelled_at_once(
    operations: Operations, pool: QuestionPool
) -> None:
    begun = operations.start(Misbehaving("hang"))
    pid = process_of(operations, pool, begun)
    operations.cancel(begun.id)
    assert ended(lambda: operations.get(begun.id)).status == "cancelled"
    deadline = time.monotonic() + PATIENCE
    while is_alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    operations.cancel(begun.id)
    with pytest.raises(NotFoundError, match="forgotten an hour after"):
        operations.get(begun.id)


def test_the_service_s_stop_ends_operations(pool: QuestionPool, disk: DiskSpace) -> None:
    operations = Operations(pool, disk, at_once=1)
    running = operations.start(Misbehaving("hang"))
    waiting = operations.start(Misbehaving("answer", key="another"))
    process_of(operations, pool, running)
    assert operations.get(waiting.id).status == "waiting"
    operations.stop()
    for one in (running, waiting):
        failed = ended(lambda one=one: operations.get(one.id))  # type: ignore[misc]
        assert failed.problem is not None
        assert failed.problem.code == "not_ready"
    with pytest.raises(UnavailableError, match="stopping"):
        operations.start(Misbehaving("answer"))
    operations.join()
    assert not [thread for thread in threading.enumerate() if "operation" in thread.name]


def test_a_full_disk_ends_an_operation(pool: QuestionPool) -> None:
    full = DiskSpace([Path("/")], 1000, free=lambda _: 10)
    operations = Operations(pool, full)
    failed = run(operations, Misbehaving("hang"))
    assert failed.problem is not None
    assert (failed.problem.status, failed.problem.code) == (507, "disk_full")
    operations.stop()
    operations.join()


class Blocked:
    """A worker that works until it is released."""

    def __init__(self) -> None:
        self.begun, self.released, self.ended = (threading.Event() for _ in range(3))

    def work(
        self,
        kind: OperationKind,  # noqa: ARG002
        body: bytes,  # noqa: ARG002
        *,
        on_start: Callable[[Callable[[], None]], None],
        **_more: Any,
    ) -> bytes:
        self.begun.set()
        assert self.released.wait(PATIENCE)
        on_start(self.ended.set)
        return b""


def test_an_operation_that_was_cancelled_before_its_process_began(disk: DiskSpace) -> None:
    worker = Blocked()
    operations = Operations(worker, disk)
    first = operations.start(Misbehaving("answer"))
    assert worker.begun.wait(PATIENCE)
    operations.cancel(first.id)
    assert operations.get(first.id).status == "running"
    assert operations.start(Misbehaving("answer")).id != first.id  # nobody shares it
    worker.released.set()
    assert worker.ended.wait(PATIENCE)
    # It was done nevertheless, which may have stored something.
    assert ended(lambda: operations.get(first.id)).status == "succeeded"
    operations.stop()
    operations.join()


def test_files_of_results_are_few_and_the_service_s_stop_removes_them(
    disk: DiskSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ENDED", 1)
    worker = Blocked()
    worker.released.set()
    operations = Operations(worker, disk)
    for name in ("a", "b"):
        begun = operations.start(Writing("", path=str(tmp_path / name)))
        assert ended(lambda one=begun: operations.get(one.id)).status == "succeeded"  # type: ignore[misc]
        assert (tmp_path / name).exists()
    assert [one.id for one in operations.page(None, 9).data] == [begun.id]
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    operations.stop()
    operations.join()
    assert list(tmp_path.iterdir()) == []


def test_work_is_the_same_if_all_that_it_is_about_is() -> None:
    nothing: Any = None
    one, two = (
        ImportRequest(file=UploadedFile(upload=digest_of(content))) for content in (FILE, OTHER)
    )
    imports: list[Any] = [
        ImportWork(name, request, 0, nothing, nothing)
        for name, request in (("a", one), ("b", one), ("a", two))
    ]
    trained: Any = SimpleNamespace(
        job_id="job_1", checkpoints=[SimpleNamespace(file="x")], which=None
    )
    evaluations = [
        EvaluationWork(trained, StoredExamples(nothing, nothing, "job_1", "", set=of), 0, 0)
        for of in ("training", "validation")
    ]
    assert len({each.key for each in [*imports, *evaluations]}) == 5
    assert ImportWork("a", one, 0, nothing, nothing).key == imports[0].key


@dataclass
class Writing(Misbehaving):
    """Work whose result is a file."""

    def run(self, ask: Ask) -> Result:
        ask(Do(do="write"))
        file = Path(self.path)
        file.write_text(json.dumps({"a": 1}))
        return Result(file=file, media_type="application/json", warnings=("mind this",))


def test_equal_requests_share_an_operation_and_their_number_is_limited(
    disk: DiskSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_UNFINISHED", 3)
    worker, clock = Blocked(), Clock()
    operations = Operations(worker, disk, clock=clock)
    begun = [
        operations.start(Writing("", key=key, path=str(tmp_path / key))) for key in ("a", "b", "c")
    ]
    assert operations.start(Writing("", key="b")).id == begun[1].id
    with pytest.raises(UnavailableError, match="3 operations"):
        operations.start(Writing("", key="d"))
    worker.released.set()
    for one in begun:
        done = ended(lambda one=one: operations.get(one.id))  # type: ignore[misc]
        assert (done.status, done.bytes, done.warnings) == ("succeeded", 8, ["mind this"])
    newest_first = [one.id for one in reversed(begun)]
    assert operations.page(None, 3).next is None
    first = operations.page(None, 2)
    assert [one.id for one in first.data] == newest_first[:2]
    assert first.next is not None
    rest = operations.page(first.next, 2)
    assert ([one.id for one in rest.data], rest.next) == (newest_first[2:], None)
    assert operations.file(begun[0].id) == (tmp_path / "a", "application/json")
    clock.now += timedelta(hours=1, seconds=1)
    assert operations.page(None, 9).data == []
    assert list(tmp_path.iterdir()) == []
    operations.stop()
    operations.join()
