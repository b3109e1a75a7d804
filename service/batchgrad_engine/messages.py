"""What service and engine say to each other: one JSON object a line on the engine's pipes.

The first line on the engine's stdin is a `Start`, later ones are `Command`s, `ClusterFound` and
`Stored`; stdin's end means "write a checkpoint and go". Everything that the engine prints on
stdout is an `EngineMessage`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from batchgrad.contract import BestEvaluation, EventType, JobSpec, StepRow
from batchgrad_workers.data.source import DatasetSource


class Message(BaseModel):
    """One line."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Start(Message):
    """One attempt at a job. `ray_private` says that the cluster is this service's own.

    `request_id` is that of the request that submitted the job, for the log.
    """

    job_id: str
    attempt: int
    request_id: str | None = None
    spec: JobSpec
    dataset: DatasetSource
    job_directory: Path
    initial_parameters: Path | None = None
    ray_address: str | None = None
    ray_private: bool = True
    worker_silence_seconds: float = 10.0
    worker_start_seconds: float = 60.0


class Command(Message):
    """What the engine shall do at the next step boundary.

    `ledger`: write the example ledger beside the checkpoints, say `LedgerWritten`, and go on.
    """

    command: Literal["pause", "cancel", "ledger"]


class ClusterFound(Message):
    """The service's answer to `ClusterWanted`: where a driver connects; `detail` says why not.

    `environment` is what Ray needs there, and reads when it is imported.
    """

    address: str | None
    environment: dict[str, str] = Field(default_factory=dict)
    detail: str = ""


class Stored(Message):
    """The service has stored the engine's line of this number, counted from 1, and all before."""

    stored: int


AnyToEngine = Command | ClusterFound | Stored
ToEngine: TypeAdapter[AnyToEngine] = TypeAdapter(AnyToEngine)


class ClusterWanted(Message):
    """A job with `workers: auto` would try the service's private cluster, with so many workers."""

    type: Literal["cluster_wanted"] = "cluster_wanted"
    workers: int


class Started(Message):
    """The engine is training: where, and from which step."""

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
    cumulative); `phase_seconds` lists every step's seconds by phase; bytes are by transport.
    """

    examples: int = 0
    norm_buckets: list[int] = Field(default_factory=list)
    norm_sum: float = 0.0
    phase_seconds: dict[str, list[float]] = Field(default_factory=dict)
    nonfinite_examples: int = 0
    bytes_in: dict[str, int] = Field(default_factory=dict)
    bytes_out: dict[str, int] = Field(default_factory=dict)


class ClusterSeen(Message):
    """The Ray cluster as the engine sees it.

    Ids of its nodes, and of those with a worker of this job; `starting` workers are waited for.
    """

    nodes: list[str] = Field(default_factory=list)
    busy: list[str] = Field(default_factory=list)
    starting: int = 0


class Evaluated(Message):
    """Figures on the validation examples after `step` steps; `best` as the job keeps the best."""

    step: int
    epoch: int
    validation_loss: float
    validation_accuracy: float | None
    best: bool = False


class Warned(Message):
    """What a step, or the evaluation after it, made the engine warn of."""

    step: int
    detail: str
    of: Literal["step", "evaluation"] = "step"


class Report(Message):
    """Progress, at most every quarter of a second: all steps and evaluations since the last.

    `warnings` come with their steps' rows: steps that are computed again after a restart warn
    again, and the store knows by the rows which warnings it has.
    """

    type: Literal["report"] = "report"
    workers: int
    threads: int
    executor: Literal["inline", "ray"]
    examples_per_second: float
    rows: list[StepRow]
    evaluations: list[Evaluated] = Field(default_factory=list)
    warnings: list[Warned] = Field(default_factory=list)
    observed: Observed
    cluster: ClusterSeen = ClusterSeen()


@dataclass(frozen=True)
class SentReport:
    """A `Report` as the engine says it: each of `rows` is a `StepRow` by `encode_row`.

    Thousands of rows a second are checked once, by the service.
    """

    workers: int
    threads: int
    executor: Literal["inline", "ray"]
    examples_per_second: float
    rows: Sequence[orjson.Fragment]
    evaluations: Sequence[Evaluated]
    warnings: Sequence[Warned]
    observed: Observed
    cluster: ClusterSeen
    type: Literal["report"] = "report"


class Checkpointed(Message):
    """A checkpoint is on disk, complete; `file` is its name in the job's directory.

    `best` says of which evaluation it also holds the parameters.
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
    """The example ledger after `step` steps is on disk, complete, as LEDGER_FILE."""

    type: Literal["ledger_written"] = "ledger_written"
    step: int


class Happened(Message):
    """An event for people: a worker that came or went, a retry, a warning."""

    type: Literal["happened"] = "happened"
    event: EventType
    data: dict[str, Any]


class Finished(Message):
    """The engine's last word. `interrupted`: its stdin closed, or Ray is gone; it can go on.

    `parameters_digest` is of the parameters that the job keeps, the best or the last ones.
    """

    type: Literal["finished"] = "finished"
    outcome: Literal["succeeded", "failed", "paused", "cancelled", "interrupted"]
    reason: str | None = None
    detail: str | None = None
    step: int
    parameters_digest: str | None = None
    last_parameters_digest: str | None = None


AnyEngineMessage = (
    Started | Report | Checkpointed | LedgerWritten | Happened | ClusterWanted | Finished
)
EngineMessage: TypeAdapter[AnyEngineMessage] = TypeAdapter(
    Annotated[AnyEngineMessage, Field(discriminator="type")]
)
Sent = Started | SentReport | Checkpointed | LedgerWritten | Happened | ClusterWanted | Finished


def encode_row(row: Mapping[str, Any]) -> orjson.Fragment:
    """A `StepRow` from a mapping with its keys, as JSON, which takes less memory; nan is null."""
    return orjson.Fragment(orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY))


def encode(message: Sent) -> bytes:
    """One line without its end, which `EngineMessage` reads; JSON has no nan, so it is null."""
    return orjson.dumps(message, BaseModel.model_dump, orjson.OPT_SERIALIZE_NUMPY)


LEDGER_FILE = "ledger.safetensors"

RETRY_REASONS = ("died", "silent", "slow")
"""Why microbatches are computed again: their worker ended, answered nothing, or was late."""

CLUSTER_LOST = 75
"""An engine's exit code (EX_TEMPFAIL): Ray is gone; a new attempt can go on from the checkpoint."""
