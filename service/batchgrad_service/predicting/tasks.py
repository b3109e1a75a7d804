"""The tasks of processes that predict or evaluate."""

from pathlib import Path
from typing import Any, TypeAlias

from pydantic import BaseModel, ConfigDict

from batchgrad.contract import JobSpec, Kept, PredictionFormat, RowSet, UploadedFile
from batchgrad_service.store.records import StoredCheckpoint

SAMPLED = 10_000


class TrainedTask(BaseModel):
    """A job's parameters: its checkpoints, the newest first, in its `directory`."""

    job_id: str
    spec: JobSpec
    directory: Path
    checkpoints: list[StoredCheckpoint]
    which: Kept | None = None


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid")  # so that JSON is of one kind of data alone


class RowsData(_Data):
    """Rows of a table, {column: value}."""

    rows: list[dict[str, Any]]


class InputsData(_Data):
    """A network's own inputs (n, …)."""

    inputs: list[Any]


class FileData(_Data):
    """The uploaded `file` at `path`.

    `scratch` is an empty directory for arrays that are unpacked, of at most `max_bytes`.
    """

    file: UploadedFile
    path: Path
    scratch: Path
    max_bytes: int


class DatasetData(_Data):
    """A dataset's content; all of it, or one `set` of a job's own dataset, or the rows `examples`.

    `sampled`: SAMPLED rows at most, drawn at random, always the same ones.
    """

    directory: Path
    set: RowSet | None = None
    examples: list[int] | None = None
    sampled: bool = False


DataTask: TypeAlias = RowsData | InputsData | FileData | DatasetData
"""The examples."""


class Task(BaseModel):
    """A job's parameters, and the examples to predict or to evaluate on."""

    trained: TrainedTask
    data: DataTask


class FileTask(Task):
    """Write the predictions to the file `to`."""

    to: Path
    format: PredictionFormat
