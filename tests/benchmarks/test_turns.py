"""Alternating runs, bursts, the counted steps of a job, and peak memory."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchgrad.contract import JobSpec, Norms, StepRow
from benchmarks.bursts import Bursts
from benchmarks.contestants import TRAINING, Ours, Program, spec
from benchmarks.growth import points
from benchmarks.memory import descendants, peak_bytes
from benchmarks.peers import ContestantFailed, Running
from benchmarks.programs.numpy_gemms import products, shapes
from benchmarks.results import Burst
from benchmarks.rounds import Ready, take_turns
from benchmarks.service import steady
from benchmarks.workloads import EXAMPLES, WORKLOADS, Minibatches, data


class Player:
    """A contestant that records when it ran."""

    placement = ""

    def __init__(self, name: str, log: list[str]) -> None:
        self._name, self._log = name, log

    def prepare(self) -> dict[str, str]:
        return {}

    def burst(self, seconds: float) -> Burst:
        self._log.append(self._name)
        return Burst(len(self._log), seconds)

    def peak_bytes(self) -> int:
        return 0

    def close(self) -> None:
        pass


def test_contestants_take_turns() -> None:
    log: list[str] = []
    ready: dict[str, Ready] = {name: Player(name, log) for name in "abc"}

    bursts = take_turns(ready, 2, 1.0, lambda _: None, sleep=lambda _: None)

    assert log == ["a", "b", "c", "a", "b", "c"]
    assert [burst.steps for burst in bursts["b"]] == [2, 5]


class Clock:
    """A clock that advances only when a step is done."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("step_seconds", "steps", "done"),
    [(0.1, 10, 12), (2.0, 1, 2)],  # the warm-up of 0.2 s is not counted
)
def test_a_burst_warms_up_and_then_counts(step_seconds: float, steps: int, done: int) -> None:
    clock, count = Clock(), 0

    def step() -> None:
        nonlocal count
        clock.now += step_seconds
        count += 1

    counted, seconds = Bursts(step, clock=clock).run(1.0 - 1e-9)

    assert (counted, count) == (steps, done)
    assert seconds == pytest.approx(steps * step_seconds)


def test_slow_steps_are_not_warmed_up_again() -> None:
    clock, forgotten = Clock(), []

    def step() -> None:
        clock.now += 2.0

    bursts = Bursts(step, forget=lambda: forgotten.append(clock.now), clock=clock)

    assert [bursts.run(1.0) for _ in range(2)] == [(1, 2.0), (1, 2.0)]
    assert forgotten == [4.0, 6.0]


START = datetime(2026, 1, 1, tzinfo=UTC)
WARM = START + timedelta(seconds=1)


def row(step: int, seconds: float, **phases: float) -> StepRow:
    return StepRow(
        step=step,
        epoch=1,
        time=START + timedelta(seconds=seconds),
        loss=1.0,
        learning_rate=0.1,
        gradient_norm=1.0,
        noise_scale=None,
        norms=Norms(quantiles={}, largest=[]),
        shortcuts={},
        phases=phases,
        workers=0,
    )


def test_only_steps_after_the_warm_up_count() -> None:
    rows = [row(1, 0.0, compute=9.0), row(5, 1.0, compute=0.1), row(25, 3.0, compute=0.3)]

    found = steady(rows, WARM)

    assert (found.steps, found.seconds) == (20, 2.0)
    assert found.phases == pytest.approx({"compute": 0.3})  # of the steps within those seconds


@pytest.mark.parametrize("rows", [[], [row(1, 0.0)], [row(1, 0.0), row(2, 1.5)]])
def test_a_burst_that_is_too_short_is_refused(rows: list[StepRow]) -> None:
    with pytest.raises(ContestantFailed, match="let it run for longer"):
        steady(rows, WARM)


def test_a_child_is_a_descendant_with_a_peak_until_it_ends() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in descendants(os.getpid())
        assert 2**20 < peak_bytes(child.pid) < 2**30
        child.communicate(b"\n")
    assert child.pid not in descendants(os.getpid())
    assert peak_bytes(child.pid) == 0


def test_peaks_are_read_from_proc(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "stat").write_text("7 (a) name) S 1 7")
    (tmp_path / "7" / "status").write_text("Name:\ta\nVmHWM:\t    12 kB\n")
    (tmp_path / "8").mkdir()
    (tmp_path / "8" / "stat").write_text("8 (b) S 7 7")

    assert descendants(7, tmp_path) == [7, 8]
    assert peak_bytes(7, tmp_path) == 12 * 1024


def test_a_program_answers_requests_and_ends_when_its_stdin_closes() -> None:
    gemms = Program("gemm", "bare GEMMs", "numpy_gemms", method="blas", venv="own")
    running = Running(gemms, "tiny")
    try:
        assert running.prepare() == {"numpy": np.__version__}
        burst = running.burst(0.01)
        assert burst.steps >= 1
        assert burst.seconds >= 0.01
        assert running.peak_bytes() > 2**20
    finally:
        running.close()


def test_a_failure_quotes_the_stderr_of_the_program() -> None:
    unknown = Program("odd", "", "numpy_gemms", method="guess", venv="own")
    running = Running(unknown, "tiny")
    try:
        with pytest.raises(ContestantFailed, match=r"(?s)odd ended.*invalid choice: 'guess'"):
            running.prepare()
    finally:
        running.close()


def test_the_bare_products_have_the_shapes_of_a_step() -> None:
    assert shapes(WORKLOADS["tiny"]) == [(1, 64, 32), (1, 32, 10)]
    assert shapes(WORKLOADS["convnet"]) == [(784, 9, 16), (196, 144, 32), (1, 1568, 10)]
    products(WORKLOADS["tiny"], 4)()


@pytest.mark.parametrize("workload", WORKLOADS.values(), ids=lambda w: w.name)
def test_minibatches_are_full_and_data_is_the_same_every_time(workload: Any) -> None:
    assert EXAMPLES % workload.batch_size == 0
    minibatches = Minibatches(workload)
    epoch = np.concatenate([minibatches.next() for _ in range(EXAMPLES // workload.batch_size)])
    assert np.array_equal(np.sort(epoch), np.arange(EXAMPLES))
    assert len(minibatches.next()) == workload.batch_size
    inputs, targets = data(workload, 8)
    again, targets_again = data(workload, 8)
    assert np.array_equal(inputs, again)
    assert np.array_equal(targets, targets_again)


def test_the_jobs_are_valid_specs() -> None:
    for workload in WORKLOADS.values():
        for ours in (each for each in TRAINING if isinstance(each, Ours)):
            JobSpec.model_validate_json(json.dumps(spec(ours, workload, "data")))
    for point in points():
        JobSpec.model_validate(spec(point.ours, point.workload, "data"))
    wide = next(p for p in points() if p.variable == "P" and p.workload.name == "width-512")
    assert wide.value == 784 * 512 + 512 + 512 * 512 + 512 + 512 * 10 + 10
