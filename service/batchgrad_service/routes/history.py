"""/v1/jobs/{id}/steps, /curves, /checkpoints and /parameters."""

from typing import IO, Annotated, Literal

import orjson
from fastapi import APIRouter, Header, Query, Response
from starlette.concurrency import run_in_threadpool

from batchgrad.contract import TERMINAL, Checkpoint, Curves, Kept, Page, Precision, StepRow
from batchgrad_engine.checkpoints.exports import PrecisionTooSmall
from batchgrad_engine.checkpoints.folding import CannotFold
from batchgrad_service.datasets.downloads import Download, newest_whole
from batchgrad_service.http.responses import etag_matches, file_response, json_response
from batchgrad_service.problems import ConflictError, InvalidError
from batchgrad_service.routes.dependencies import Services, ServicesDep
from batchgrad_service.store.step_blocks.grid import COUNT, HIGH, LOW, MOST_BUCKETS, SUM

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
StepNumber = Annotated[int | None, Query(ge=0, lt=2**63)]
_BINARY = {"schema": {"type": "string", "format": "binary"}}


@router.get("/{job_id}/steps", response_model=Page[StepRow])
async def read_steps(
    job_id: str,
    services: ServicesDep,
    after: StepNumber = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    max_points: Annotated[int | None, Query(ge=2, le=10_000)] = None,
) -> Response:
    """The steps after `after`, in pages; with max_points that many of them, with equal distances.

    A thinned list has the first and the last step. The first 1,000 steps are kept, and the job's
    last hour; before it every 2nd step, from 2 hours on every 4th, from 4 hours on every 8th, and
    so on. Any step can be replayed. Figures have 8 digits, a float64 job's all; loss, learning
    rate, gradient norm and noise scale always have all.
    """
    if max_points is None:
        return await run_in_threadpool(
            lambda: json_response(services.store.steps(job_id, after=after, limit=limit))
        )

    def thinned() -> IO[bytes]:
        rows = services.store.thinned_steps(job_id, max_points, after=after)
        content = orjson.dumps({"data": rows, "next": None}, option=orjson.OPT_UTC_Z)
        return services.spool.file(content)

    return file_response(await services.run_heavy(thinned), "application/json")


@router.get("/{job_id}/curves", response_model=Curves)
async def read_curves(
    job_id: str,
    services: ServicesDep,
    after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    buckets: Annotated[int, Query(ge=1, le=MOST_BUCKETS)] = MOST_BUCKETS,
) -> Response:
    """All steps in at most `buckets` buckets of a power of two of steps, with each one's extremes.

    A spike of one step is in its bucket's high, at any number of steps. With `after`, only the
    buckets from that of the step after it on: who has the buckets before merges them in pairs until
    they are as wide, and has what a request for all would give.
    """

    def answer() -> IO[bytes]:
        found = services.store.curves(job_id, after=after, buckets=buckets)
        figures = {
            name: {
                "sum": values[SUM].tolist(),
                "count": values[COUNT].astype(int).tolist(),
                "low": values[LOW].tolist(),  # nan becomes null
                "high": values[HIGH].tolist(),
            }
            for name, values in found.buckets.figures.items()
        }
        content = {**vars(found), "width": found.buckets.width, "figures": figures}
        del content["buckets"]
        return services.spool.file(orjson.dumps(content, option=orjson.OPT_UTC_Z))

    return file_response(await services.run_heavy(answer), "application/json")


@router.get("/{job_id}/checkpoints", response_model=Page[Checkpoint])
def read_checkpoints(job_id: str, services: ServicesDep) -> Response:
    """The stored checkpoints, the newest first."""
    kept = services.store.checkpoints(job_id)
    return json_response(Page[Checkpoint](data=[stored.checkpoint for stored in kept]))


@router.get(
    "/{job_id}/parameters",
    response_class=Response,
    responses={
        200: {"content": {"application/octet-stream": _BINARY}},
        304: {"description": "The parameters still have the ETag in If-None-Match"},
    },
)
async def read_parameters(
    job_id: str,
    services: ServicesDep,
    file_format: Annotated[Literal["safetensors", "npz"], Query(alias="format")] = "safetensors",
    which: Annotated[
        Kept | None, Query(description="best or last; default what the job keeps")
    ] = None,
    step: Annotated[
        int | None, Query(ge=0, lt=2**63, description="instead of which: the step of a checkpoint")
    ] = None,
    fold: bool = False,
    precision: Annotated[
        Precision | None, Query(description="of the file; default the job's precision")
    ] = None,
    if_none_match: Annotated[
        str | None, Header(description="the ETag of an earlier response")
    ] = None,
) -> Response:
    """The job's current parameters as a safetensors or npz file: best or last, by spec.keep.

    If the newest checkpoint is damaged, the response has the parameters of the one before it and a
    Warning header.

    ?which= chooses best or last; ?step= chooses a stored checkpoint. Every file holds a model
    card: spec, inputs, classes, evaluation, versions.

    If inputs were standardized, the file has mean and deviation, of a table its encoding.
    ?fold=true folds mean and deviation into the first layer, (W / deviation) x + (b - W (mean /
    deviation)), so that the network takes inputs that are not standardized; the first layer must be
    linear with a bias. Folding is computed in float64. It is refused if the file's precision would
    change the network: when means are many deviations from 0, use ?precision=float64 too.
    """
    return await services.run_heavy(
        lambda: _parameters(
            job_id,
            services,
            file_format,
            which,
            step,
            if_none_match,
            fold=fold,
            precision=precision,
        )
    )


def _parameters(
    job_id: str,
    services: Services,
    file_format: Literal["safetensors", "npz"],
    which: Kept | None,
    step: int | None,
    known: str | None,
    *,
    fold: bool,
    precision: Precision | None,
) -> Response:
    job = services.store.job(job_id)
    kept = services.store.checkpoints(job_id)
    if not kept and job.status in TERMINAL:
        raise ConflictError(
            f"Job {job_id} {job.status} before its first checkpoint, so it has no parameters.",
            code="ended_without_checkpoint",
        )
    if not kept:
        raise ConflictError(
            f"Job {job_id} has no checkpoint yet: wait for its first one.", code="no_checkpoint"
        )
    model = job.spec.model if fold else None

    def etag(chosen: Download) -> str:
        how = f"{'-folded' if fold else ''}{f'-{precision}' if precision else ''}"
        return f'"{chosen.digest}-{file_format}{how}"'

    def export(chosen: Download) -> IO[bytes] | None:
        if etag_matches(known, etag(chosen)):
            return None
        path = services.job_directory(job_id) / chosen.file
        return services.spool.shared_file(
            f"{path} {file_format} {fold} {precision} {chosen.which}",
            lambda: services.exporters[file_format](
                path, model, which=chosen.which, precision=precision
            ),
        )

    try:
        content, chosen, faults = newest_whole(job_id, kept, export, which, step)
    except CannotFold as reason:
        raise InvalidError(str(reason), code="cannot_fold") from None
    except PrecisionTooSmall as reason:
        raise InvalidError(str(reason), code="precision_too_small") from None
    headers = {"ETag": etag(chosen), "Cache-Control": "private, no-cache"}
    if content is None:
        return Response(status_code=304, headers=headers)
    at = chosen.step
    return file_response(
        content,
        "application/octet-stream",
        {
            "Content-Disposition": f'attachment; filename="{job.name}-step-{at}.{file_format}"',
            **headers,
            **({"Warning": _warning(faults, at)} if faults else {}),
        },
    )


def _warning(faults: list[str], step: int) -> str:
    """A Warning header (RFC 7234): which older parameters the response has, and why."""
    text = f"{' '.join(faults)} These are the parameters of step {step}."
    quoted = " ".join(text.replace('"', "'").split())
    return f'199 batchgrad "{quoted.encode("ascii", "replace").decode()}"'
