"""/v1/jobs/{id}/steps, checkpoints and parameters."""

from typing import IO, Annotated, Literal

from fastapi import APIRouter, Query, Response
from starlette.concurrency import run_in_threadpool

from batchgrad.contract import TERMINAL, Checkpoint, Kept, Page, Precision, StepRow
from batchgrad_service.downloads import choose
from batchgrad_service.engine.folding import CannotFold
from batchgrad_service.problems import Conflict, Invalid, NotFound
from batchgrad_service.routes.large_answers import sent_from
from batchgrad_service.routes.services import Served, Services, as_json

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
StepNumber = Annotated[int | None, Query(ge=0, lt=2**63)]
_BINARY = {"schema": {"type": "string", "format": "binary"}}


@router.get("/{job_id}/steps", response_model=Page[StepRow])
async def read_steps(
    job_id: str,
    served: Served,
    after: StepNumber = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    max_points: Annotated[int | None, Query(ge=2, le=10_000)] = None,
) -> Response:
    """Every step beyond `after`, in pages; or with max_points that many of them, evenly apart.

    Thinned, the first and the last are among them.
    """
    if max_points is None:
        return await run_in_threadpool(
            lambda: as_json(served.store.steps(job_id, after=after, limit=limit))
        )

    def thinned() -> IO[bytes]:
        rows = served.store.thinned_steps(job_id, max_points, after=after)
        return served.spool.hold(Page[StepRow](data=rows).model_dump_json().encode())

    return sent_from(await served.heavily(thinned), "application/json")


@router.get("/{job_id}/checkpoints", response_model=Page[Checkpoint])
def read_checkpoints(job_id: str, served: Served) -> Response:
    """The checkpoints that are kept, the newest first."""
    kept = served.store.checkpoints(job_id)
    return as_json(Page[Checkpoint](data=[stored.checkpoint for stored in kept]))


@router.get(
    "/{job_id}/parameters",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": _BINARY}}},
)
async def read_parameters(
    job_id: str,
    served: Served,
    file_format: Annotated[Literal["safetensors", "npz"], Query(alias="format")] = "safetensors",
    which: Annotated[
        Kept | None, Query(description="the best or the last; default what the job keeps")
    ] = None,
    step: Annotated[
        int | None, Query(ge=0, lt=2**63, description="instead: those of an older checkpoint")
    ] = None,
    fold: bool = False,
    precision: Annotated[
        Precision | None, Query(description="of the file; default the job's")
    ] = None,
) -> Response:
    """θ as a safetensors or npz file: those that the job keeps (spec.keep), as of now.

    With ?which=best or last, those; with ?step=, those after that step, if a checkpoint holds them.
    A safetensors file's metadata say which they are, with step, digest and evaluation.

    Where inputs were standardized, the file says how. With ?fold=true mean and deviation are
    folded into the first layer, (W / deviation) x + (b - W (mean / deviation)), and the network
    takes raw inputs; that needs a linear layer with a bias there. It is done in float64 and
    refused where the file's precision would make another network of it: where means are many
    deviations from 0, ask for ?precision=float64 too.
    """
    return await served.heavily(
        lambda: _parameters(
            job_id, served, file_format, which, step, fold=fold, precision=precision
        )
    )


def _parameters(
    job_id: str,
    served: Services,
    file_format: Literal["safetensors", "npz"],
    which: Kept | None,
    step: int | None,
    *,
    fold: bool,
    precision: Precision | None,
) -> Response:
    job = served.store.job(job_id)
    kept = served.store.checkpoints(job_id)
    if not kept and job.status in TERMINAL:
        raise Conflict(
            f"Job {job_id} {job.status} before its first checkpoint: it has no parameters.",
            code="ended_without_checkpoint",
        )
    if not kept:
        raise Conflict(
            f"Job {job_id} has no checkpoint yet: wait for its first one.", code="no_checkpoint"
        )
    chosen = choose(job_id, kept, which, step)
    at = chosen.step
    path = served.job_directory(job_id) / chosen.file
    model = job.spec.model if fold else None
    try:
        content = served.spool.share(
            f"{path} {file_format} {fold} {precision} {chosen.which}",
            lambda: served.exporters[file_format](
                path, model, which=chosen.which, precision=precision
            ),
        )
    except CannotFold as reason:
        raise Invalid(str(reason), code="cannot_fold") from None
    except FileNotFoundError:
        raise NotFound(
            f"The checkpoint of step {at} has just made room for a newer one: ask again.",
            code="checkpoint_not_found",
        ) from None
    return sent_from(
        content,
        "application/octet-stream",
        {
            "Content-Disposition": f'attachment; filename="{job.name}-step-{at}.{file_format}"',
            "ETag": f'"{chosen.digest}-{file_format}{"-folded" if fold else ""}'
            f'{f"-{precision}" if precision else ""}"',
        },
    )
