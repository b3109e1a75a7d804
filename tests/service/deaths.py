"""One attempt at a job in this process, in which service or engine die when they are told to."""

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
    """SIGKILL: nothing of the engine runs after it."""


@dataclass(frozen=True)
class Fate:
    """When who dies in one attempt, in lines of the engine and in its steps.

    The service stores `heard` lines and says so of all but the last `unsaid`; its engine leaves
    `late` steps after that. The engine is killed before step `killed`, or in the checkpoint after
    `halfway` others when rows are on the disk and θ is not, or in the one after `untold` others
    when it would tell of it. `torn`: afterwards the newest checkpoint can't be read.
    """

    heard: int = NEVER
    unsaid: int = 0
    killed: int = NEVER
    halfway: int = NEVER
    untold: int = NEVER
    late: int = 0
    torn: bool = False


@dataclass
class Life:
    """One attempt: the service's end of the pipe, and the engine's orders."""

    reports: Reports
    job_id: str
    attempt: int
    fate: Fate
    often: bool
    lines: int = 0
    steps: int = -1
    saved: int = 0
    checkpoints: int = 0
    alone: int = 0
    line: bytes = b""
    writer: MessageWriter = field(init=False)
    command: None = None

    def write(self, part: bytes) -> None:
        self.line += part

    def flush(self) -> None:
        line, self.line = self.line, b""
        if self.lines >= self.fate.heard:
            raise BrokenPipeError
        self.lines += 1
        message = EngineMessage.validate_json(line)
        if isinstance(message, Finished | LedgerWritten | ClusterWanted):
            return
        assert self.reports.take(self.job_id, self.attempt, message, self.lines)
        if self.lines <= self.fate.heard - self.fate.unsaid:
            self.said = self.lines

    @property
    def interrupted(self) -> bool:
        if hasattr(self, "said"):
            self.writer.stored(self.said)  # the engine hears of it at some time
        self.steps += 1
        if self.steps >= self.fate.killed:
            raise Killed
        retry = {"microbatches": 1, "reason": "died", "at": [self.attempt, self.steps]}
        self.writer.send(EngineEvent(event="retry", data=retry))
        self.alone += self.lines >= self.fate.heard
        return self.alone > self.fate.late

    def ledger_wanted(self) -> bool:
        return self.often  # the ledger is written after a report

    def live(self, start: Start) -> None:
        self.writer = MessageWriter(self)  # type: ignore[arg-type]

        def save_unstored() -> None:
            self.writer.save_unstored(start)
            self.saved += 1
            if self.saved > self.fate.halfway:
                raise Killed

        def send(message: Sent) -> None:
            self.checkpoints += isinstance(message, Checkpointed)
            if self.checkpoints > self.fate.untold:
                raise Killed
            self.writer.send(message)

        try:
            run_attempt(start, self, send, save_unstored)
            self.writer.save_unstored(start)
        except Killed:
            return


@dataclass(frozen=True)
class Told:
    """What a job has in the end, without what is another's time."""

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

    def attempt(self, job_id: str, fate: Fate, *, often: bool) -> None:
        """As the supervisor does it: what an earlier engine left is stored first."""
        number = self.store.begin_attempt(job_id)
        assert number is not None
        self.reports.take_over(job_id, number)
        begun = start(self, job_id, number)
        Life(self.reports, job_id, number, fate, often).live(begun)
        folder = begun.job_directory
        newest = max(folder.glob("step-*.safetensors"), default=None)
        if fate.torn and newest is not None:
            newest.write_bytes(newest.read_bytes()[:200])
        self.settle(job_id, "recovering")

    def settle(self, job_id: str, *statuses: JobStatus) -> None:
        """As a service does at its start."""
        self.reports.take_over(job_id, self.store.job(job_id).attempts)
        for status in statuses:
            assert self.store.transition(job_id, to=status)

    def told(self, job_id: str) -> Told:
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
        return Told(
            [row.model_dump(exclude={"time", "phases"}) for row in rows],
            by_type["evaluation"],
            [warning for warning in warnings if ".safetensors" not in warning],
            self.store.job(job_id).parameters_digest,
        )


def start(world: World, job_id: str, attempt: int) -> Start:
    """The order that the attempt's engine gets."""
    return Start(
        job_id=job_id,
        attempt=attempt,
        spec=world.store.job(job_id).spec,
        dataset=DatasetSource(world.dataset),
        job_directory=world.data_dir / "jobs" / job_id,
    )


def make_world(store: Store, directory: Path, *, broken: Sequence[int]) -> World:
    """Those examples have inputs that are not finite."""
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


def undisturbed(world: World) -> Told:
    """What the job has when nobody dies."""
    job_id = world.job(spec())
    world.attempt(job_id, Fate(), often=True)
    told = world.told(job_id)
    assert [row["step"] for row in told.rows] == list(range(1, STEPS + 1))
    assert len(told.evaluations) + len(told.warnings) >= 5
    return told


def endure(world: World, seed: int) -> Told:
    """The same of a job with six deaths drawn by `seed`."""
    random = Random(seed)
    job_id = world.job(spec(checkpoint_interval_seconds=random.choice([1e-9, 3600.0])))
    for _ in range(6):
        fate = Fate(
            heard=random.choice([NEVER, random.randint(0, 25)]),
            unsaid=random.randint(0, 3),
            killed=random.choice([NEVER, random.randint(0, 8)]),
            halfway=random.choice([NEVER, random.randint(0, 6)]),
            untold=random.choice([NEVER, random.randint(0, 6)]),
            late=random.choice([0, random.randint(1, 6)]),
            torn=random.random() < 0.2,
        )
        world.attempt(job_id, fate, often=random.random() < 0.7)
    world.attempt(job_id, Fate(), often=True)
    return world.told(job_id)
