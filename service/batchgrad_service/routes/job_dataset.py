"""A job's dataset for its workers on other nodes, with that job's secret; not for people."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Header, Request
from starlette.responses import FileResponse

from batchgrad.contract import TERMINAL
from batchgrad_service.datasets.npz import ARRAYS
from batchgrad_service.problems import ForbiddenError, NotFoundError
from batchgrad_service.routes.dependencies import ServicesDep

router = APIRouter(prefix="/v1/jobs", include_in_schema=False)
_log = structlog.stdlib.get_logger("batchgrad.datasets")
FILES = tuple(f"{name}.npy" for name in ARRAYS)


class _LargeFile(FileResponse):
    """A third of the CPU time of the chunks of 64 KiB that Starlette sends."""

    chunk_size = 2**20


@router.get("/{job_id}/dataset/{file}")
def read_job_dataset(
    job_id: str,
    file: str,
    services: ServicesDep,
    request: Request,
    authorization: Annotated[str, Header()] = "",
) -> FileResponse:
    """One array's .npy, or a range of its bytes.

    Raises:
        ForbiddenError: not this job's secret, or the job has ended.
    """
    secret = authorization.removeprefix("Bearer ")
    if not services.sources.opens(job_id, secret) or services.store.job(job_id).status in TERMINAL:
        raise ForbiddenError(
            "This is for the workers of a job that has not ended, with the secret that its engine "
            "was given; people need no more than GET /v1/datasets."
        )
    digest = services.store.job_inputs(job_id).dataset_digest
    path = services.datasets.directory(digest) / file
    if file not in FILES or not path.is_file():
        raise NotFoundError(f"Job {job_id}'s dataset has no {file:.64}.")
    _log.info(
        "a node fetches a dataset",
        job_id=job_id,
        node=request.client.host if request.client else None,
        digest=digest,
        file=file,
        bytes=path.stat().st_size,
        range=request.headers.get("range"),
    )
    return _LargeFile(path, media_type="application/octet-stream")
