"""Preflight processes: limited in time, ended with the service; what they found is remembered."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from batchgrad.contract import FieldError, Plan, TorchPlan
from batchgrad_engine.preflight.messages import Examined, Preflighted, Request
from batchgrad_service.preflights.preflights import Preflights
from batchgrad_service.preflights.process import PreflightProcess
from batchgrad_service.problems import InvalidError, UnavailableError
from batchgrad_service.shutdown import Shutdown
from batchgrad_service.validation.job_data import JobData
from batchgrad_service.validation.torch.plan import with_module
from batchgrad_workers.system.processes import is_alive
from batchgrad_workers.user_code.sources import CodeSource
from tests.service.building import dataset, spec

SLEEPS = "import sys, time; print('built', file=sys.stderr, flush=True); time.sleep(600)"
DIES = "import sys, os; print('half\\nbuilt', file=sys.stderr, flush=True); os._exit(3)"
KILLED = "import os; os.kill(os.getpid(), 9)"
LEAVES_A_CHILD = (
    "import os, sys, time; sys.stdin.readline(); child = os.fork() or time.sleep(600); "
    'print(f\'{{"problem": {{"pointer": "/model/torch", "detail": "{child}"}}}}\')'
)
ENDS_SILENTLY = "import sys, os; print('half', file=sys.stderr, flush=True); os._exit(0)"
ANSWERS = (
    "import sys; sys.stdin.readline(); "
    'print(\'{"problem": {"pointer": "/model/torch", "detail": "mixes"}}\')'
)


def request(code: CodeSource | None = None, **changes: Any) -> Request:
    return Request(
        spec=spec(**{"model": {"torch": "mine:build"}, "loss": None, **changes}),
        dataset=Path("nowhere"),
        validation_dataset=None,
        initial_parameters=None,
        code=code or CodeSource(),
        memory_bytes=2**30,
    )


@contextmanager
def unending(_wake: Callable[[], None]) -> Iterator[None]:
    yield


def run(program: str, seconds: float = 30.0, on_shutdown: Any = unending) -> Preflighted:
    command = (sys.executable, "-c", program)
    return PreflightProcess(seconds, on_shutdown, command=command).run(request())


def test_the_answer_is_what_the_process_prints() -> None:
    assert run(ANSWERS).problem == FieldError(pointer="/model/torch", detail="mixes")


def test_a_process_that_takes_too_long_is_ended() -> None:
    started = time.monotonic()
    with pytest.raises(InvalidError, match=r"longer than 0\.5 s") as caught:
        run(SLEEPS, 0.5)
    assert time.monotonic() - started < 20
    assert caught.value.code == "preflight_too_long"
    assert caught.value.errors[0].pointer == "/model/torch"


def test_the_end_of_its_output_is_told_if_it_dies() -> None:
    with pytest.raises(InvalidError, match=r"exit code 3\. The end of its output:\nhalf\nbuilt$"):
        run(DIES)
    with pytest.raises(InvalidError, match=r"ended with signal 9 \(9 is often a lack of memory"):
        run(KILLED)


@pytest.mark.parametrize("child_sleeps", [LEAVES_A_CHILD, LEAVES_A_CHILD + "; time.sleep(600)"])
def test_processes_that_it_has_started_are_not_waited_for_and_end(child_sleeps: str) -> None:
    started = time.monotonic()
    if child_sleeps is LEAVES_A_CHILD:
        problem = run(child_sleeps, 60.0).problem
        assert problem
        assert not is_alive(int(problem.detail))
    else:
        with pytest.raises(InvalidError, match=r"longer than 1 s"):
            run(child_sleeps, 1.0)
    assert time.monotonic() - started < 20


def test_it_may_not_end_without_an_answer() -> None:
    for program in (ENDS_SILENTLY, "print('x')"):
        with pytest.raises(InvalidError, match="without an answer") as caught:
            run(program)
        assert caught.value.code == "preflight_failed"


def test_code_that_reads_stdin_finds_it_empty() -> None:
    program = (
        "from batchgrad_workers.system.one_answer import read_request; read_request(); input()"
    )
    with pytest.raises(InvalidError, match="EOFError: EOF when reading a line"):
        run(program)


def test_it_ends_with_the_service() -> None:
    shutdown = Shutdown()
    threading.Timer(0.5, shutdown.begin).start()
    with pytest.raises(UnavailableError, match="The service is stopping"):
        run(SLEEPS, on_shutdown=shutdown.subscribe)
    started = time.monotonic()
    with pytest.raises(UnavailableError, match="The service is stopping"):
        run(SLEEPS, on_shutdown=shutdown.subscribe)  # it had waited for the first
    assert time.monotonic() - started < 20


def found(files: dict[str, tuple[int, int]]) -> Preflighted:
    return Preflighted(
        examined=Examined(
            plan=TorchPlan(
                function="mine:build",
                path="together",
                why="",
                uncovered=[],
                random=[],
                parameters=[],
                unavailable={},
                source_digest="",
            ),
            layers=[],
            parameters=3,
            training_examples=9,
            validation_examples=1,
            steps_per_epoch=3,
            minibatch_size=4,
            weighted=False,
            has_accuracy=True,
            has_values=False,
            shortcuts=[],
            memory_bytes=100,
            warnings=[],
            files=files,
        )
    )


def test_noisy_validation_needs_a_task_with_right_answers() -> None:
    privacy = {"delta": 1e-5, "epsilon": 1.0, "clip_norm": 1.0, "validation": "noisy"}
    module = {"model": {"torch": "mine:build"}, "loss": None}
    noisy = spec(**module, privacy=privacy, validation_fraction=0.1)
    examined = found({}).examined
    assert examined is not None
    values: dict[str, Any] = {"warnings": []}
    plan = Plan.model_construct(**values)
    assert with_module(plan, noisy, examined).torch == examined.plan
    without = examined.model_copy(update={"has_accuracy": False})
    with pytest.raises(InvalidError, match="give it a function `correct`") as caught:
        with_module(plan, noisy, without)
    assert caught.value.errors[0].pointer == "/privacy/validation"


def runs(asked: list[Request], data: JobData, file: Path | None = None) -> list[bool]:
    """Whether a preflight was run for each of these requests, one after the other."""
    count = [0]

    def run(_: Request) -> Preflighted:
        count[0] += 1
        state = file.stat() if file else None
        return found({str(file): (state.st_mtime_ns, state.st_size)} if state else {})

    async def ask() -> list[bool]:
        preflights = Preflights(run)
        ran = []
        for each in asked:
            before = count[0]
            await preflights.examine(each, data)
            ran.append(count[0] > before)
            if file:
                os.utime(file, ns=(0, len(ran) // 2))
        return ran

    return asyncio.run(ask())


@pytest.fixture
def data() -> JobData:
    return JobData(dataset(), Path("nowhere"))


def test_a_preflight_is_remembered_for_what_it_depends_on(data: JobData) -> None:
    first = request()
    assert runs([first, first], data) == [True, False]
    same = request(name="other", steps=3, optimizer={"kind": "adam", "learning_rate": 1.0})
    assert runs([first, same], data) == [True, False]
    for other in (
        request(seed=1),
        request(precision="float64"),
        request(microbatch_size=3),
        request(model={"torch": "mine:build", "config": {"width": 3}}),
        request(validation_fraction=0.5),
        request(CodeSource(digest="sha256:" + "0" * 64)),
    ):
        assert runs([first, other], data) == [True, True]


def test_another_dataset_is_another_preflight(data: JobData) -> None:
    other = JobData(dataset(digest="sha256:" + "b" * 64), Path("nowhere"))
    asked: list[str] = []

    def run(given: Request) -> Preflighted:
        asked.append(given.spec.name)
        return found({})

    async def ask() -> None:
        preflights = Preflights(run)
        for each in (data, other, JobData(dataset(), Path("nowhere"), validation=data), data):
            await preflights.examine(request(), each)

    asyncio.run(ask())
    assert len(asked) == 3


def test_changed_files_of_code_are_examined_again(tmp_path: Path, data: JobData) -> None:
    file = tmp_path / "mine.py"
    file.write_text("")
    os.utime(file, ns=(0, 0))
    assert runs([request()] * 4, data, file) == [True, False, True, False]


def test_code_of_which_a_file_is_gone_is_examined_again(tmp_path: Path, data: JobData) -> None:
    file = tmp_path / "mine.py"
    file.touch()
    count = [0]

    def run(_: Request) -> Preflighted:
        count[0] += 1
        state = file.stat()
        file.unlink()
        return found({str(file): (state.st_mtime_ns, state.st_size)})

    preflights = Preflights(run)
    asyncio.run(preflights.examine(request(), data))
    file.touch()
    file.unlink()
    with pytest.raises(FileNotFoundError):
        asyncio.run(preflights.examine(request(), data))
    assert count == [2]


def test_problems_are_told_and_not_remembered(data: JobData) -> None:
    answers = [
        Preflighted(problem=FieldError(pointer="/model/torch", detail="KeyError: 'x'")),
        found({}),
    ]

    async def ask() -> None:
        preflights = Preflights(lambda _: answers.pop(0))
        with pytest.raises(InvalidError, match="KeyError: 'x'"):
            await preflights.examine(request(), data)
        await preflights.examine(request(), data)

    asyncio.run(ask())
