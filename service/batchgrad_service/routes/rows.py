"""/v1/jobs/{id}/rows: the rows that a job trains on, and those that it holds out."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from starlette.concurrency import run_in_threadpool

from batchgrad.contract import JobRow, Page, RowSet
from batchgrad_service.http.responses import file_response, json_response
from batchgrad_service.privacy.refusals import refuse_private_rows
from batchgrad_service.questions.job_rows import RowsQuestion, answer
from batchgrad_service.routes.dependencies import Services, ServicesDep

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
SMALL_TARGET_BYTES = 2**23
"""A dataset with larger targets is split in a process with limits, not in a thread."""


@router.get("/{job_id}/rows", response_model=Page[JobRow])
async def read_rows(
    job_id: str,
    services: ServicesDep,
    set: RowSet = "validation",  # noqa: A002 (what the contract calls it too)
    after: Annotated[int | None, Query(ge=0, lt=2**63)] = None,
    limit: Annotated[int, Query(ge=1, le=100_000)] = 1000,
) -> Response:
    """The rows of the dataset that are in one of the job's sets, ascending, with their ids.

    The validation rows of a job with `validation: {dataset: NAME}` are that dataset's. Rows of
    weight 0 are in no set. Of a private job only public validation rows are listed: ids, and
    whether a weight is 0, are part of a row.
    """

    def ask() -> tuple[RowsQuestion, int]:
        question = _question(job_id, services, set, after, limit)
        return question, question.target_bytes()

    question, target_bytes = await run_in_threadpool(ask)
    if target_bytes <= SMALL_TARGET_BYTES:
        return json_response(await run_in_threadpool(answer, question))
    body = question.model_dump_json().encode()
    found = await services.questions.ask("rows", body, data_bytes=target_bytes)
    return file_response(found, "application/json")


def _question(
    job_id: str, services: Services, rows_of: RowSet, after: int | None, limit: int
) -> RowsQuestion:
    inputs = services.store.job_inputs(job_id)
    refuse_private_rows(job_id, inputs.spec, [], None, rows_of)
    other = inputs.validation_digest
    return RowsQuestion(
        job_id=job_id,
        spec=inputs.spec,
        dataset=services.datasets.directory(inputs.dataset_digest),
        validation=None if other is None else services.datasets.directory(other),
        set=rows_of,
        after=after,
        limit=limit,
    )
