"""What a process gets that predicts or evaluates."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from batchgrad.contract import JobSpec, Kept, PredictionFormat, RowSet, UploadedFile
from batchgrad_service.store.records import StoredCheckpoint


class TrainedTask(BaseModel):
    """A job's parameters: its checkpoints, the newest first, in its `directory`."""

    job_id: str
    spec: JobSpec
    directory: Path
    checkpoints: list[StoredCheckpoint]
    which: Kept | None = None


class DataTask(BaseModel):
    """The examples; exactly one of these.

    `set` is of the stored dataset: all of it for None. `scratch` is an empty directory for arrays
    that are unpacked, of at most `max_bytes`.
    """

    rows: list[dict[str, Any]] | None = None
    inputs: list[Any] | None = None
    file: UploadedFile | None = None
    path: Path | None = None
    dataset: Path | None = None
    set: RowSet | None = None
    scratch: Path | None = None
    max_bytes: int = 0


class PredictionTask(BaseModel):
    """Predict `data`; to the file `to`, or in the answer if that is None."""

    trained: TrainedTask
    data: DataTask
    to: Path | None = None
    format: PredictionFormat = "csv"


class EvaluationTask(BaseModel):
    """Evaluate on `data`."""

    trained: TrainedTask
    data: DataTask
