"""The kinds of questions and operations, and the function that answers each: bytes to bytes."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, TypeAdapter

from batchgrad.contract import GradientsRequest, ImportRequest, JobSpec, PredictionRequest
from batchgrad_service.datasets.validation import Content
from batchgrad_service.http.json_bodies import read_body
from batchgrad_service.predicting import evaluating, predicting, stored_rows
from batchgrad_service.predicting.tasks import FileTask, Task, TrainedTask
from batchgrad_service.questions import gradients, job_rows
from batchgrad_service.reading.row_progress import RowProgress
from batchgrad_service.validation import plan
from batchgrad_service.validation.job_data import JobData

Kind = Literal["gradients", "spec", "plan", "rows", "predict_now", "predict_stored"]

CONTENT: TypeAdapter[Content] = TypeAdapter(Content)


class PlanQuestion(BaseModel):
    """The inputs of a plan."""

    spec: JobSpec
    data: JobData


class ImportTask(BaseModel):
    """An uploaded file, and the empty directory for its arrays, of at most `max_bytes`."""

    path: Path
    request: ImportRequest
    directory: Path
    max_bytes: int


def _gradients(body: bytes) -> bytes:
    return gradients.answer(read_body(GradientsRequest, body)).model_dump_json().encode()


def _spec(body: bytes) -> bytes:
    """Validate a job's spec and fill in its defaults."""
    return read_body(JobSpec, body).model_dump_json().encode()


def _plan(body: bytes) -> bytes:
    question = PlanQuestion.model_validate_json(body)
    return plan.plan(question.spec, question.data).model_dump_json().encode()


def _rows(body: bytes) -> bytes:
    question = job_rows.RowsQuestion.model_validate_json(body)
    return job_rows.answer(question).model_dump_json().encode()


def _import(body: bytes, progress: RowProgress) -> bytes:
    # Importing it takes 40 MB, for pyarrow, which other questions and the service need not have.
    from batchgrad_service.reading.importing import import_file  # noqa: PLC0415

    task = ImportTask.model_validate_json(body)
    content = import_file(
        task.path, task.request, task.directory, max_bytes=task.max_bytes, progress=progress
    )
    return CONTENT.dump_json(content)


def _predict_now(body: bytes) -> bytes:
    """`body` is a TrainedTask in one line, and below it the request as it came."""
    trained, _, request = body.partition(b"\n")
    task = TrainedTask.model_validate_json(trained)
    answer = predicting.predict_now(task, read_body(PredictionRequest, request))
    return answer.model_dump_json().encode()


def _predict_stored(body: bytes) -> bytes:
    task = stored_rows.StoredRowsTask.model_validate_json(body)
    return stored_rows.predict_stored(task).model_dump_json().encode()


def _predict_to_file(body: bytes, progress: RowProgress) -> bytes:
    task = FileTask.model_validate_json(body)
    return predicting.predict_to_file(task, progress).model_dump_json().encode()


def _evaluation(body: bytes, progress: RowProgress) -> bytes:
    task = Task.model_validate_json(body)
    return evaluating.evaluate(task, progress).model_dump_json().encode()


ANSWERS: dict[str, Callable[[bytes], bytes]] = {
    "gradients": _gradients,
    "spec": _spec,
    "plan": _plan,
    "predict_now": _predict_now,
    "predict_stored": _predict_stored,
    "rows": _rows,
}
"""By Kind. Each raises a ProblemError when the request is invalid."""

OPERATIONS: dict[str, Callable[[bytes, RowProgress], bytes]] = {
    "import": _import,
    "prediction": _predict_to_file,
    "evaluation": _evaluation,
}
"""By OperationKind: what a process of its own does. Each raises a ProblemError too."""
