"""/v1/jobs/{id}/examples and /v1/jobs/{id}/steps/{step}/examples: what single examples did."""

import io
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Query, Response
from fastapi import Path as InPath
from fastapi.responses import StreamingResponse

from batchgrad.contract import (
    TERMINAL,
    ExampleInput,
    Ledger,
    LedgerOrder,
    ShareOrder,
    StepExamples,
)
from batchgrad_engine.checkpoints.ledger_files import LedgerFile, NoLedger
from batchgrad_engine.replay import Request
from batchgrad_service.http.responses import CHUNK_BYTES, json_response
from batchgrad_service.problems import ConflictError, InvalidError, NotFoundError
from batchgrad_service.routes.dependencies import Services, ServicesDep
from batchgrad_service.routes.ledger_pages import ledger_page
from batchgrad_service.routes.pictures import picture_shape, png
from batchgrad_service.store import JobInputs
from batchgrad_workers.system.files import hex_of

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
Array = npt.NDArray[np.generic]
_BINARY = {"schema": {"type": "string", "format": "binary"}}
MOST_NUMBERS = 2**20
"""Of an example, as JSON or a picture."""

LEDGER_SECONDS = 2.0
"""How long to wait for a running job's next step; then its newest checkpoint will do."""


@router.get("/{job_id}/examples", response_model=Ledger)
def read_examples(
    job_id: str,
    services: ServicesDep,
    order: LedgerOrder = "mean_norm",
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """What every training example did so far, the largest first; while a job runs, up to now."""
    return json_response(newest_ledger(job_id, services, order, after, limit))


def newest_ledger(
    job_id: str, services: Services, order: LedgerOrder, after: str | None, limit: int
) -> Ledger:
    """A page of the newest ledger that there is."""
    inputs = services.store.job_inputs(job_id)
    dataset = services.datasets.directory(inputs.dataset_digest)
    file = _newest_ledger(job_id, services)
    return ledger_page(file, inputs.spec, dataset, order=order, after=after, limit=limit)


def _newest_ledger(job_id: str, services: Services) -> LedgerFile:
    fresh = services.supervisor.ledger(job_id, LEDGER_SECONDS)
    folder = services.job_directory(job_id)
    kept = [folder / stored.file for stored in services.store.checkpoints(job_id)]
    for path in [*([] if fresh is None else [fresh]), *kept]:
        try:
            return LedgerFile(path)
        except NoLedger:  # torn, or removed for a newer one: the next will do
            continue
    status = services.store.job(job_id).status
    if status in TERMINAL:
        raise ConflictError(
            f"Job {job_id} {status} before its first checkpoint: it has no example ledger.",
            code="ended_without_checkpoint",
        )
    raise ConflictError(
        f"Job {job_id} has no example ledger yet: wait for its first step or checkpoint.",
        code="no_ledger",
    )


@router.get(
    "/{job_id}/examples/{example}",
    response_model=ExampleInput,
    responses={200: {"content": {"image/png": _BINARY, "application/octet-stream": _BINARY}}},
)
def read_example(
    job_id: str,
    services: ServicesDep,
    example: Annotated[int, InPath(ge=0, lt=2**63)],
    file_format: Annotated[Literal["json", "png", "npy"], Query(alias="format")] = "json",
) -> Response:
    """One example of the job's dataset: its input and target; or its input as a picture or array.

    Pictures are of inputs (height, width) and (1 or 3, height, width), and of k² numbers, k ≥ 8.
    """
    inputs, targets = arrays_of(job_id, services)
    if example >= len(inputs):
        raise NotFoundError(
            f"Job {job_id}'s dataset has the examples 0 to {len(inputs) - 1}, no {example}.",
            code="example_not_found",
        )
    if file_format == "npy":
        return _as_npy(inputs[example])
    size = inputs[example].size + targets[example].size
    if size > MOST_NUMBERS:
        raise InvalidError(
            f"An example has {size} numbers, at most {MOST_NUMBERS} are written as JSON or drawn: "
            "ask for ?format=npy, which numpy.load reads.",
            code="example_too_large",
        )
    if file_format == "json":
        values, target = inputs[example].tolist(), targets[example].tolist()
        return json_response(ExampleInput(example=example, input=values, target=target))
    shape = picture_shape(inputs.shape[1:])
    if shape is None:
        raise InvalidError(
            f"Inputs of shape {inputs.shape[1:]} are no pictures: ask for format=json."
        )
    return Response(png(inputs[example], shape), media_type="image/png")


def _as_npy(row: Array) -> Response:
    """The file that numpy.save makes of it, read from the disk as it is sent."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, np.lib.format.header_data_from_array_1_0(row))
    flat = row.reshape(-1)
    step = max(1, CHUNK_BYTES // row.itemsize)
    pieces = (flat[start : start + step].tobytes() for start in range(0, row.size, step))
    return StreamingResponse(
        chain([head.getvalue()], pieces),
        media_type="application/octet-stream",
        headers={"Content-Length": str(head.tell() + row.nbytes)},
    )


def arrays_of(job_id: str, services: Services) -> tuple[Array, Array]:
    """Inputs (n, …) and targets of a job's dataset, mapped; ConflictError when it was deleted."""
    directory = services.datasets.directory(services.store.job_inputs(job_id).dataset_digest)
    try:
        inputs, targets = (
            np.load(directory / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            for name in ("inputs", "targets")
        )
    except FileNotFoundError:
        raise ConflictError(f"Job {job_id}'s dataset was deleted.", code="dataset_gone") from None
    return inputs, targets


@router.get("/{job_id}/steps/{step}/examples", response_model=StepExamples)
def read_step_examples(
    job_id: str,
    services: ServicesDep,
    step: Annotated[int, InPath(ge=1, lt=2**63)],
    order: ShareOrder = "share",
    limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
) -> Response:
    """Who drove this step: it is computed again, exactly, and its gradient taken apart.

    `share` orders by size, whatever its sign; `alignment` the most opposed first; the others the
    largest first, `example` by number.
    """
    checksum = services.store.step_checksum(job_id, step)
    inputs = services.store.job_inputs(job_id)
    dataset = services.datasets.directory(inputs.dataset_digest)
    if not dataset.exists():
        raise ConflictError(
            f"Job {job_id}'s dataset was deleted, so its steps can't be replayed.",
            code="dataset_gone",
        )
    for at, checkpoint in _starts(job_id, step, services):
        _refuse_long(job_id, step, at, services)
        answer = services.replays.run(
            Request(
                spec=inputs.spec,
                dataset=dataset,
                checkpoint=checkpoint,
                initial_parameters=_initial(inputs, services),
                step=step,
                checksum=checksum,
                order=order,
                limit=limit,
            )
        )
        if answer.examples is not None:
            return json_response(answer.examples)
    raise ConflictError(
        f"Step {step} of job {job_id} can't be replayed: {answer.bad_checkpoint}",
        code="bad_checkpoint",
    )


def _starts(job_id: str, step: int, services: Services) -> list[tuple[int, Path | None]]:
    """Where a replay can begin, the nearest first: checkpoints before the step, and the start."""
    folder = services.job_directory(job_id)
    before = [
        (stored.checkpoint.step, folder / stored.file)
        for stored in services.store.checkpoints(job_id)
        if stored.checkpoint.step < step
    ]
    return [*before, (0, None)]


def _initial(inputs: JobInputs, services: Services) -> Path | None:
    if inputs.initial_parameters is None:
        return None
    return services.data_dir / "parameters" / f"{hex_of(inputs.initial_parameters)}.safetensors"


def _refuse_long(job_id: str, step: int, start: int, services: Services) -> None:
    most = services.replays.seconds
    seconds = services.store.recorded_seconds(job_id, after=start, upto=step, most=most)
    if seconds <= most:
        return
    kept = [stored.checkpoint.step for stored in services.store.checkpoints(job_id)]
    raise ConflictError(
        f"A replay of step {step} begins at step {start} and would take more than {most:g} s "
        f"(replay_timeout_seconds), by the seconds that its steps took: ask for a step soon after "
        f"one of the checkpoints, which are of the steps {sorted(kept)}.",
        code="replay_too_long",
    )
