"""A job's datasets for its workers on other nodes; needs the job's secret."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Header, Request
from starlette.responses import FileResponse

from batchgrad.contract import TERMINAL
from batchgrad_service.problems import ForbiddenError, NotFoundError
from batchgrad_service.routes.dependencies import ServicesDep
from batchgrad_workers.data.dataset import stored_names

router = APIRouter(prefix="/v1/jobs", include_in_schema=False)
_log = structlog.stdlib.get_logger("batchgrad.datasets")


class _LargeFile(FileResponse):
    """Sends chunks of 1 MiB: a third of the CPU time of Starlette's chunks of 64 KiB."""

    chunk_size = 2**20


@router.get("/{job_id}/datasets/{content}/{file}")
def read_job_dataset(
    job_id: str,
    content: str,
    file: str,
    services: ServicesDep,
    request: Request,
    authorization: Annotated[str, Header()] = "",
) -> FileResponse:
    """The .npy file of one array, or a range of its bytes; `content` is its digest's hex.

    Raises:
        ForbiddenError: the secret is not this job's, or the job has ended.
    """
    secret = authorization.removeprefix("Bearer ")
    if not services.sources.opens(job_id, secret) or services.store.job(job_id).status in TERMINAL:
        raise ForbiddenError(
            "Only workers of a job that has not ended can read this route, with the secret of that "
            "job; GET /v1/datasets describes datasets."
        )
    digest = f"sha256:{content}"
    directory = services.datasets.directory(digest)
    known = digest in services.store.job_inputs(job_id).dataset_digests
    names = stored_names(directory) if known and directory.is_dir() else []
    if file not in {f"{name}.npy" for name in names}:
        raise NotFoundError(f"Job {job_id} reads no file {content:.64}/{file:.64}.")
    path = directory / file
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
