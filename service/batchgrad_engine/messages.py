"""Messages between service and engine: one JSON object per line on the engine's stdin and stdout.

The first line on stdin is a `Start`, later ones are `Command`, `ClusterFound` or `Stored`. The
end of stdin means: write a checkpoint and exit. Every line on stdout is an `EngineMessage`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from batchgrad.contract import BestEvaluation, EventType, JobSpec, ValidationFigures
from batchgrad_engine.step_columns import Columns, StepColumns, count_of
from batchgrad_workers.data.source import DatasetSource
from batchgrad_workers.user_code.sources import CodeSource


class Message(BaseModel):
    """Base class: one line, immutable, without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PrivateStart(Message):
    """What a private job needs besides its spec: the secret key, in hex, and the accounting.

    `sampling_rate` is the q that was accounted for, of each unit in each step. `epsilons` are ε
    after `steps` steps each, a grid that bounds ε of the steps between; `validation_deviation` is
    that of the noise on the number of right answers. An `unsafe` key is fixed by a setting, so no ε
    is claimed.
    """

    key: str = Field(repr=False)
    noise_multiplier: float
    sampling_rate: float
    steps: list[int]
    epsilons: list[float]
    steps_planned: int
    validation_deviation: float | None = None
    unsafe: bool = False


class Start(Message):
    """Start one attempt at a job. `ray_private`: the cluster is this service's own.

    `request_id` identifies the HTTP request that submitted the job, for the log. A job that has
    ended before trains further from `lengthened_step`.
    """

    model_config = ConfigDict(hide_input_in_errors=True)  # it holds a private job's key

    job_id: str
    attempt: int
    request_id: str | None = None
    spec: JobSpec
    dataset: DatasetSource
    validation_dataset: DatasetSource | None = None
    job_directory: Path
    initial_parameters: Path | None = None
    code: CodeSource | None = None
    privacy: PrivateStart | None = None
    lengthened_step: int | None = None
    ray_address: str | None = None
    ray_private: bool = True
    worker_heartbeat_timeout_seconds: float = 10.0
    worker_start_timeout_seconds: float = 60.0
    siblings_from_nodes: int = 16


class Command(Message):
    """What the engine must do after the current step.

    `ledger`: write the example ledger beside the checkpoints, send `LedgerWritten`, and continue.
    """

    command: Literal["pause", "cancel", "ledger"]


class ClusterFound(Message):
    """The answer to `ClusterWanted`: the address for a Ray driver, or None and `detail` says why.

    `environment` holds the variables that Ray needs there and reads when it is imported.
    """

    address: str | None
    environment: dict[str, str] = Field(default_factory=dict)
    detail: str = ""


class Stored(Message):
    """The service has stored the engine's lines up to this number, counted from 1."""

    stored: int


AnyToEngine = Command | ClusterFound | Stored
ToEngine: TypeAdapter[AnyToEngine] = TypeAdapter(AnyToEngine)


class ClusterWanted(Message):
    """A job with `workers: auto` wants to try `workers` workers on the service's own cluster."""

    type: Literal["cluster_wanted"] = "cluster_wanted"
    workers: int


class Started(Message):
    """The engine starts to train at `step`, with this executor."""

    type: Literal["started"] = "started"
    executor: Literal["inline", "ray"]
    workers: int
    threads: int
    step: int
    steps_planned: int
    resumed_from: int | None = None


class Observed(Message):
    """Counts since the last report, for the service's metrics.

    `norm_buckets` has one count per bound of EXAMPLE_NORM_BOUNDS and one above them (not
    cumulative); `other_phases` lists the seconds of each phase that is no part of a step, such as
    a checkpoint; bytes are per transport.
    """

    examples: int = 0
    norm_buckets: list[int] = Field(default_factory=list)
    norm_sum: float = 0.0
    other_phases: dict[str, list[float]] = Field(default_factory=dict)
    nonfinite_examples: int = 0
    bytes_in: dict[str, int] = Field(default_factory=dict)
    bytes_out: dict[str, int] = Field(default_factory=dict)


class ClusterSeen(Message):
    """The Ray cluster as the engine sees it.

    Ids of all `nodes`, ids of the `busy` nodes, which run a worker of this job, and the number
    of workers that are still `starting`.
    """

    nodes: list[str] = Field(default_factory=list)
    busy: list[str] = Field(default_factory=list)
    starting: int = 0


class Evaluated(Message, ValidationFigures):
    """An evaluation after `step` steps; `best`: the job keeps these parameters as its best."""

    step: int
    epoch: int
    best: bool = False


class Warned(Message):
    """A warning about a step, or about the evaluation after it."""

    step: int
    detail: str
    of: Literal["step", "evaluation"] = "step"


class Report(Message):
    """Progress since the last report: all steps and evaluations, at most five reports a second.

    `warnings` come with their steps: steps that a restarted engine computes again warn
    again, and the rows tell the store which warnings it already has.
    """

    type: Literal["report"] = "report"
    workers: int
    threads: int
    executor: Literal["inline", "ray"]
    examples_per_second: float | None
    steps: list[StepColumns]
    evaluations: list[Evaluated] = Field(default_factory=list)
    warnings: list[Warned] = Field(default_factory=list)
    observed: Observed
    cluster: ClusterSeen = ClusterSeen()

    def phase_seconds(self) -> Iterator[tuple[str, Sequence[float]]]:
        """Each phase with its seconds in every step, or in every other piece of work."""
        for columns in self.steps:
            for phase, seconds in columns["phases"].items():
                one_each = isinstance(seconds, tuple)  # else all steps took the same
                yield phase, seconds if one_each else (seconds,) * count_of(columns)
        yield from self.observed.other_phases.items()


@dataclass(frozen=True)
class SentReport:
    """A `Report` as the engine sends it: the service validates it."""

    workers: int
    threads: int
    executor: Literal["inline", "ray"]
    examples_per_second: float | None
    steps: Sequence[Columns]
    evaluations: Sequence[Evaluated]
    warnings: Sequence[Warned]
    observed: Observed
    cluster: ClusterSeen
    type: Literal["report"] = "report"


class Checkpointed(Message):
    """A complete checkpoint is on disk; `file` is its name in the job's directory.

    `best` is the evaluation whose parameters it also holds.
    """

    type: Literal["checkpointed"] = "checkpointed"
    step: int
    time: datetime
    file: str
    bytes: int
    digest: str
    parameters_digest: str
    best: BestEvaluation | None = None


class LedgerWritten(Message):
    """The complete example ledger after `step` steps is on disk, as LEDGER_FILE."""

    type: Literal["ledger_written"] = "ledger_written"
    step: int


class EngineEvent(Message):
    """An event for people: a worker that joined or was lost, a retry, a warning."""

    type: Literal["engine_event"] = "engine_event"
    event: EventType
    data: dict[str, Any]


Outcome = Literal["succeeded", "failed", "paused", "cancelled", "interrupted"]


class Finished(Message):
    """The engine's last message. `interrupted`: stdin ended, or Ray failed; the job can resume.

    `parameters_digest` is of the parameters that the job keeps, the best or the last ones.
    """

    type: Literal["finished"] = "finished"
    outcome: Outcome
    reason: str | None = None
    detail: str | None = None
    step: int
    parameters_digest: str | None = None
    last_parameters_digest: str | None = None


AnyEngineMessage = (
    Started | Report | Checkpointed | LedgerWritten | EngineEvent | ClusterWanted | Finished
)
EngineMessage: TypeAdapter[AnyEngineMessage] = TypeAdapter(
    Annotated[AnyEngineMessage, Field(discriminator="type")]
)
Sent = Started | SentReport | Checkpointed | LedgerWritten | EngineEvent | ClusterWanted | Finished


def encode(message: Sent) -> bytes:
    """One line for `EngineMessage` to read, without its newline; nan becomes null."""
    return orjson.dumps(message, BaseModel.model_dump, orjson.OPT_SERIALIZE_NUMPY)


LEDGER_FILE = "ledger.safetensors"

RETRY_REASONS = ("died", "silent", "stuck", "slow")
"""Why microbatches are computed again: their worker died, was silent or stuck, or was slow."""

CLUSTER_LOST = 75
"""Exit code (EX_TEMPFAIL) of an engine whose Ray failed; an attempt can resume the checkpoint."""
