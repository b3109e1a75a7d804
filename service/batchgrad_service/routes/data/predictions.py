"""/v1/jobs/{id}/predictions and /evaluations: what a job's parameters say of examples."""

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from batchgrad.contract import (
    TERMINAL,
    EvaluationRequest,
    Kept,
    Operation,
    PredictionRequest,
    Predictions,
    RowSet,
    UploadedFile,
)
from batchgrad_service.http.json_bodies import json_body, read_body
from batchgrad_service.http.responses import file_response, json_response
from batchgrad_service.operations.examples import StoredExamples
from batchgrad_service.operations.predictions import EvaluationWork, PredictionWork
from batchgrad_service.predicting.tasks import TrainedTask
from batchgrad_service.privacy.refusals import refuse_private_rows
from batchgrad_service.problems import ConflictError
from batchgrad_service.routes.dependencies import Services, ServicesDep

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
SMALL_BYTES = 2**18
"""The length of a body that the service parses itself; requests for a file are not longer."""

_BEGUN = {202: {"model": Operation, "description": "The examples are being read"}}


@router.post(
    "/{job_id}/predictions",
    response_model=Predictions,
    responses=_BEGUN,  # type: ignore[arg-type]  # FastAPI's own type is narrower than it takes
    openapi_extra=json_body(PredictionRequest),
)
async def predict(job_id: str, request: Request, services: ServicesDep) -> Response:
    """Predict examples with the parameters that a job keeps, or with its best or last.

    A few rows or inputs: 200, and the predictions. A file or a dataset: 202, and the operation
    that writes them to a file, GET /v1/operations/{id}/result.
    """
    async with services.bodies.json(request) as body:
        wanted = None
        if len(body) <= SMALL_BYTES:
            wanted = await run_in_threadpool(read_body, PredictionRequest, body)
        if wanted is None or (wanted.file is None and wanted.dataset is None):
            # Another process parses it (again), within its limits: JSON takes much memory.
            trained = await run_in_threadpool(trained_task, job_id, services, None)
            answer = await services.questions.ask(
                "predict_now",
                trained.model_dump_json().encode() + b"\n" + body,
                data_bytes=trained.checkpoints[0].checkpoint.bytes,
            )
            return file_response(answer, "application/json")

    def begin() -> Operation:
        examples = _stored(job_id, services, wanted.file, wanted.dataset)
        return services.operations.start(
            PredictionWork(
                trained_task(job_id, services, wanted.which),
                examples,
                wanted.format,
                services.data_dir / "uploads",
                examples.bytes,
                services.datasets.max_bytes,
            )
        )

    return _begun(await run_in_threadpool(begin))


@router.post(
    "/{job_id}/evaluations",
    status_code=202,
    response_model=Operation,
    openapi_extra=json_body(EvaluationRequest),
)
async def evaluate(job_id: str, request: Request, services: ServicesDep) -> Response:
    """Evaluate the parameters that a job keeps: loss, accuracy, confusion, AUC, R², RMSE."""
    async with services.bodies.json(request) as body:
        wanted = await run_in_threadpool(read_body, EvaluationRequest, body)

    def begin() -> Operation:
        examples = _stored(job_id, services, wanted.file, wanted.dataset, wanted.set)
        trained = trained_task(job_id, services, wanted.which)
        max_bytes = services.datasets.max_bytes
        return services.operations.start(
            EvaluationWork(trained, examples, examples.bytes, max_bytes)
        )

    return _begun(await run_in_threadpool(begin))


def _stored(
    job_id: str,
    services: Services,
    file: UploadedFile | None,
    dataset: str | None,
    rows_of: RowSet | None = None,
) -> StoredExamples:
    """A file, a dataset, or a set of the job's own; of one that it validates on all rows."""
    inputs = services.store.job_inputs(job_id)
    refuse_private_rows(
        job_id,
        inputs.spec,
        inputs.protected_digests,
        None if dataset is None else services.store.dataset(dataset).digest,
        rows_of,
    )
    other = inputs.validation_digest if rows_of == "validation" else None
    return StoredExamples(
        services.datasets,
        services.uploads,
        job_id,
        other or inputs.dataset_digest,
        file=file,
        dataset=dataset,
        set=None if other else rows_of,
    )


def _begun(operation: Operation) -> Response:
    return json_response(operation, 202, {"Location": f"/v1/operations/{operation.id}"})


def trained_task(job_id: str, services: Services, which: Kept | None) -> TrainedTask:
    """The job's parameters.

    Raises:
        NotFoundError: there is no such job.
        ConflictError: it has no parameters yet, or is of a PyTorch module.
    """
    job = services.store.job(job_id)
    if job.spec.model.torch is not None:
        raise ConflictError(
            f"Job {job_id} trains the PyTorch module that {job.spec.model.torch} builds, whose "
            "outputs the service does not compute. Fill a module of your own with its parameters, "
            f"batchgrad.torch.load(module, client.job({job_id!r})), and run it.",
            code="pytorch_job",
        )
    checkpoints = services.store.checkpoints(job_id)
    if not checkpoints:
        remedy = (
            f"It {job.status} before its first checkpoint, so it has none."
            if job.status in TERMINAL
            else "Wait for its first checkpoint."
        )
        raise ConflictError(f"Job {job_id} has no parameters. {remedy}", code="no_checkpoint")
    return TrainedTask(
        job_id=job_id,
        spec=job.spec,
        directory=services.job_directory(job_id),
        checkpoints=list(checkpoints),
        which=which,
    )
