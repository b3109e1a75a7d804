"""Attempts at a job in this process, with crashes of service and engine at chosen points."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry

from batchgrad.contract import JobSpec, JobStatus
from batchgrad_engine.attempt import run_attempt
from batchgrad_engine.message_writer import MessageWriter
from batchgrad_engine.messages import (
    Checkpointed,
    ClusterWanted,
    EngineEvent,
    EngineMessage,
    Finished,
    LedgerWritten,
    Sent,
    Start,
)
from batchgrad_service.jobs.reports import Reports
from batchgrad_service.metrics.registry import Metrics
from batchgrad_service.store import Store
from batchgrad_workers.data.source import DatasetSource
from tests.engine import small_job
from tests.service.building import create

NEVER = 10**9
STEPS = 10


CHANGES = {
    "epochs": None,
    "steps": STEPS,
    "standardize": False,
    "nonfinite": "drop",
    "shortcuts": ["averaged_error"],
}


def spec(**changes: Any) -> JobSpec:
    """Two epochs of five steps, an evaluation after each."""
    return small_job.spec(**{**CHANGES, **changes})


class Killed(BaseException):
    """Simulates SIGKILL: the engine runs no further code."""


@dataclass(frozen=True)
class Crashes:
    """The crashes in one attempt, counted in the engine's lines and steps.

    The service stores `stored` lines and acknowledges all but the last `unacknowledged`; then it
    crashes, and the engine ends `late` steps later. The engine is killed before step `killed`, in
    the checkpoint after `halfway` others (its rows are on the disk, its parameters are not), or
    after `unreported` checkpoints, before it reports the next one. `torn`: the newest checkpoint
    is then damaged.
    """

    stored: int = NEVER
    unacknowledged: int = 0
    killed: int = NEVER
    halfway: int = NEVER
    unreported: int = NEVER
    late: int = 0
    torn: bool = False


@dataclass
class SimulatedAttempt:
    """One attempt: reads the engine's pipe as the service does, and gives the engine commands."""

    reports: Reports
    job_id: str
    attempt: int
    crashes: Crashes
    ledgers: bool
    lines: int = 0
    steps: int = -1
    saved: int = 0
    acknowledged: int = 0
    checkpoints: int = 0
    alone: int = 0
    line: bytes = b""
    writer: MessageWriter = field(init=False)
    command: None = None

    def write(self, part: bytes) -> None:
        self.line += part

    def flush(self) -> None:
        line, self.line = self.line, b""
        if self.lines >= self.crashes.stored:
            raise BrokenPipeError
        self.lines += 1
        message = EngineMessage.validate_json(line)
        if isinstance(message, Finished | LedgerWritten | ClusterWanted):
            return
        assert self.reports.take(self.job_id, self.attempt, message, self.lines)
        if self.lines <= self.crashes.stored - self.crashes.unacknowledged:
            self.acknowledged = self.lines

    @property
    def interrupted(self) -> bool:
        if self.acknowledged:
            self.writer.stored(self.acknowledged)  # the engine reads acknowledgements between steps
        self.steps += 1
        if self.steps >= self.crashes.killed:
            raise Killed
        retry = {"microbatches": 1, "reason": "died", "at": [self.attempt, self.steps]}
        self.writer.send(EngineEvent(event="retry", data=retry))
        self.alone += self.lines >= self.crashes.stored
        return self.alone > self.crashes.late

    def ledger_wanted(self) -> bool:
        return self.ledgers  # the ledger is written after a report

    def live(self, start: Start) -> None:
        self.writer = MessageWriter(self)  # type: ignore[arg-type]

        def save_unstored() -> None:
            self.writer.save_unstored(start)
            self.saved += 1
            if self.saved > self.crashes.halfway:
                raise Killed

        def send(message: Sent) -> None:
            self.checkpoints += isinstance(message, Checkpointed)
            if self.checkpoints > self.crashes.unreported:
                raise Killed
            self.writer.send(message)

        try:
            run_attempt(start, self, send, save_unstored)
            self.writer.save_unstored(start)
        except Killed:
            return


@dataclass(frozen=True)
class JobResult:
    """The final rows, events and digest of a job, without times."""

    rows: list[dict[str, Any]]
    evaluations: list[dict[str, Any]]
    warnings: list[str]
    digest: str | None


@dataclass(frozen=True)
class World:
    store: Store
    reports: Reports
    data_dir: Path
    dataset: Path

    def job(self, job: JobSpec) -> str:
        made = create(self.store, **job.model_dump(exclude_defaults=True))
        (self.data_dir / "jobs" / made.id).mkdir(parents=True)
        return made.id

    def attempt(self, job_id: str, crashes: Crashes, *, ledgers: bool) -> None:
        """Run an attempt as the supervisor does: first store what an earlier engine left."""
        number = self.store.begin_attempt(job_id)
        assert number is not None
        self.reports.take_over(job_id, number)
        begun = start(self, job_id, number)
        SimulatedAttempt(self.reports, job_id, number, crashes, ledgers).live(begun)
        folder = begun.job_directory
        newest = max(folder.glob("step-*.safetensors"), default=None)
        if crashes.torn and newest is not None:
            newest.write_bytes(newest.read_bytes()[:200])
        self.end_attempt(job_id, "recovering")

    def end_attempt(self, job_id: str, *statuses: JobStatus) -> None:
        """Change the status as a service does at its start."""
        self.reports.take_over(job_id, self.store.job(job_id).attempts)
        for status in statuses:
            assert self.store.transition(job_id, to=status)

    def result(self, job_id: str) -> JobResult:
        events = self.store.events(job_id, limit=1000).data
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        by_type = {
            kind: [event.data for event in events if event.type == kind]
            for kind in ("evaluation", "warning", "progress", "checkpoint", "retry")
        }
        retries = [tuple(data["at"]) for data in by_type["retry"]]
        assert len(set(retries)) == len(retries)
        for kind in ("progress", "checkpoint"):
            steps = [data["step"] for data in by_type[kind]]
            assert len(set(steps)) == len(steps), kind
        kept = [kept.checkpoint.step for kept in self.store.checkpoints(job_id)]
        files = (self.data_dir / "jobs" / job_id).glob("step-*.safetensors")
        assert sorted(int(path.stem[5:]) for path in files) == sorted(kept)
        warnings = [data["detail"] for data in by_type["warning"]]
        rows = self.store.steps(job_id, after=None, limit=100).data
        return JobResult(
            [row.model_dump(exclude={"time", "phases"}) for row in rows],
            by_type["evaluation"],
            [warning for warning in warnings if ".safetensors" not in warning],
            self.store.job(job_id).parameters_digest,
        )


def start(world: World, job_id: str, attempt: int) -> Start:
    """Return the first message to the attempt's engine."""
    return Start(
        job_id=job_id,
        attempt=attempt,
        spec=world.store.job(job_id).spec,
        dataset=DatasetSource(world.dataset),
        job_directory=world.data_dir / "jobs" / job_id,
    )


def make_world(store: Store, directory: Path, *, broken: Sequence[int]) -> World:
    """Make a dataset in which the `broken` examples have inputs that are not finite."""
    random = np.random.default_rng(3)
    dataset = directory / "dataset"
    dataset.mkdir()
    inputs = random.normal(size=(101, 6)).astype(np.float32)
    inputs[broken] = np.inf
    np.save(dataset / "inputs.npy", inputs)
    np.save(dataset / "targets.npy", random.integers(0, 3, 101))
    np.save(dataset / "weights.npy", random.uniform(0.5, 2, 101))
    metrics = Metrics(CollectorRegistry(), version="0", count_jobs=store.count_by_status)
    return World(store, Reports(store, metrics, directory), directory, dataset)


def run_undisturbed(world: World) -> JobResult:
    """Return the result of the job without crashes."""
    job_id = world.job(spec())
    world.attempt(job_id, Crashes(), ledgers=True)
    result = world.result(job_id)
    assert [row["step"] for row in result.rows] == list(range(1, STEPS + 1))
    assert len(result.evaluations) + len(result.warnings) >= 5
    return result


def run_with_crashes(world: World, seed: int) -> JobResult:
    """Return the result of a job after six attempts with crashes drawn by `seed`."""
    random = Random(seed)
    job_id = world.job(spec(checkpoint_interval_seconds=random.choice([1e-9, 3600.0])))
    for _ in range(6):
        crashes = Crashes(
            stored=random.choice([NEVER, random.randint(0, 25)]),
            unacknowledged=random.randint(0, 3),
            killed=random.choice([NEVER, random.randint(0, 8)]),
            halfway=random.choice([NEVER, random.randint(0, 6)]),
            unreported=random.choice([NEVER, random.randint(0, 6)]),
            late=random.choice([0, random.randint(1, 6)]),
            torn=random.random() < 0.2,
        )
        world.attempt(job_id, crashes, ledgers=random.random() < 0.7)
    world.attempt(job_id, Crashes(), ledgers=True)
    return world.result(job_id)
