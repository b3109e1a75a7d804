"""/v1/jobs/{id}/examples and /v1/jobs/{id}/steps/{step}/examples: figures of single examples."""

import io
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Query, Response
from fastapi import Path as InPath
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from batchgrad.contract import (
    TERMINAL,
    ExampleInput,
    InfluenceOrder,
    Ledger,
    LedgerOrder,
    StepExamples,
)
from batchgrad_engine.checkpoints.ledger_files import LedgerFile, NoLedger
from batchgrad_engine.replay import Request
from batchgrad_service.http.responses import CHUNK_BYTES, json_response
from batchgrad_service.privacy.refusals import EXAMPLES, INFLUENCE, LEDGER, refuse_private
from batchgrad_service.problems import ConflictError, InvalidError, NotFoundError, dataset_gone
from batchgrad_service.routes.dependencies import Services, ServicesDep
from batchgrad_service.routes.ledger_pages import ledger_page
from batchgrad_service.routes.pictures import picture_shape, png
from batchgrad_service.routes.stored_predictions import with_predictions
from batchgrad_service.store import JobInputs
from batchgrad_workers.data.dataset import StoredDataset
from batchgrad_workers.system.files import hex_of

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
Array = npt.NDArray[np.generic]
_BINARY = {"schema": {"type": "string", "format": "binary"}}
MAX_NUMBERS = 2**20
"""Numbers of an example that is returned as JSON or as a picture."""

LEDGER_SECONDS = 2.0
"""How long to wait for a running job's current ledger before the newest checkpoint is used."""


@router.get("/{job_id}/examples", response_model=Ledger)
async def read_examples(
    job_id: str,
    services: ServicesDep,
    order: LedgerOrder = "mean_norm",
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    *,
    predictions: bool = False,
) -> Response:
    """The example ledger: figures of every training example, the largest first.

    Of a running job up to its current step. With `predictions` those of the parameters that the
    job keeps, of the first examples that take a second.
    """
    ledger = await run_in_threadpool(newest_ledger, job_id, services, order, after, limit)
    if predictions:
        ledger = await with_predictions(ledger, job_id, services)
    return json_response(ledger)


def newest_ledger(
    job_id: str, services: Services, order: LedgerOrder, after: str | None, limit: int
) -> Ledger:
    """A page of the newest ledger."""
    inputs = services.store.job_inputs(job_id)
    refuse_private(job_id, inputs.spec, LEDGER)
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
        except NoLedger:  # damaged, or replaced by a newer one: try the next
            continue
    status = services.store.job(job_id).status
    if status in TERMINAL:
        raise ConflictError(
            f"Job {job_id} {status} before its first checkpoint, so it has no example ledger.",
            code="ended_without_checkpoint",
        )
    raise ConflictError(
        f"Job {job_id} has no example ledger yet: wait for its first step.",
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
    array: Annotated[str, Query(max_length=64)] = "inputs",
) -> Response:
    """One example of the job's dataset, or its row of one `array` as a picture or .npy file.

    A picture needs rows (height, width) or (1 or 3, height, width), or k² numbers with k ≥ 8.
    """
    refuse_private(job_id, services.store.job_inputs(job_id).spec, EXAMPLES)
    dataset = dataset_of(job_id, services)
    if example >= len(dataset):
        raise NotFoundError(
            f"The dataset of job {job_id} has examples 0 to {len(dataset) - 1}, but no {example}.",
            code="example_not_found",
        )
    if file_format == "npy":
        return _as_npy(_named(dataset, array)[example])
    rows = [each[example] for each in dataset.arrays.values()]
    size = sum(row.size for row in rows)
    if size > MAX_NUMBERS:
        raise InvalidError(
            f"An example has {size} numbers; the limit for JSON and pictures is {MAX_NUMBERS}: use "
            "?format=npy, which numpy.load reads.",
            code="example_too_large",
        )
    if file_format == "json":
        return json_response(_example(dataset, example))
    drawn = _named(dataset, array)
    shape = picture_shape(drawn.shape[1:]) if dataset.table is None else None
    if shape is None:
        raise InvalidError(
            f"{array.capitalize()} of shape {list(drawn.shape[1:])} cannot be drawn as pictures: "
            "use ?format=json."
            if dataset.table is None
            else "The columns of a table cannot be drawn as a picture: use ?format=json."
        )
    return Response(png(drawn[example], shape), media_type="image/png")


def _named(dataset: StoredDataset, array: str) -> Array:
    """An array of the dataset. Raises InvalidError."""
    if array not in dataset.arrays:
        raise InvalidError(
            f"The dataset has no array {array:.64}: choose one by ?array=, of "
            f"{', '.join(dataset.arrays)}.",
            code="array_not_found",
        )
    return dataset.arrays[array]


def _as_npy(row: Array) -> Response:
    """The row as numpy.save would write it, read from the disk while it is sent."""
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


def _example(dataset: StoredDataset, example: int) -> ExampleInput:
    rows = {name: array[example] for name, array in dataset.arrays.items()}
    row, target, names = rows.pop("inputs", None), rows.pop("targets", None), dataset.class_names
    if row is not None and row.dtype.kind == "f" and dataset.table is not None:
        row = np.where(np.isnan(row), None, row)
    return ExampleInput(
        example=example,
        input=None if row is None else row.tolist(),
        target=None if target is None else target.tolist(),
        class_name=None if names is None or target is None else names[target],
        id=dataset.id_of(example),
        arrays={name: other.tolist() for name, other in rows.items()},
    )


def dataset_of(job_id: str, services: Services) -> StoredDataset:
    """A job's dataset, mapped; ConflictError if it was deleted."""
    digest = services.store.job_inputs(job_id).dataset_digest
    try:
        return StoredDataset.open(services.datasets.directory(digest))
    except FileNotFoundError:
        raise dataset_gone(job_id, digest) from None


@router.get("/{job_id}/steps/{step}/examples", response_model=StepExamples)
def read_step_examples(
    job_id: str,
    services: ServicesDep,
    step: Annotated[int, InPath(ge=1, lt=2**63)],
    order: InfluenceOrder = "share",
    limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
) -> Response:
    """The influence of each example on this step, which is computed again with the same bits.

    `share` sorts by absolute value, `alignment` has the most opposed example first, `example` is
    by number, and the others have the largest first.
    """
    inputs = services.store.job_inputs(job_id)
    refuse_private(job_id, inputs.spec, INFLUENCE)
    checksum = services.store.step_checksum(job_id, step)
    dataset = services.datasets.directory(inputs.dataset_digest)
    if not dataset.exists():
        raise dataset_gone(job_id, inputs.dataset_digest)
    for at, checkpoint in _starts(job_id, step, services):
        _refuse_long(job_id, step, at, services)
        answer = services.replays.run(
            Request(
                spec=inputs.spec,
                dataset=dataset,
                checkpoint=checkpoint,
                initial_parameters=_initial(inputs, services),
                code=services.code_of(inputs),
                step=step,
                checksum=checksum,
                order=order,
                limit=limit,
            )
        )
        if answer.examples is not None:
            return json_response(answer.examples)
    raise ConflictError(
        f"Step {step} of job {job_id} cannot be replayed: {answer.bad_checkpoint}",
        code="bad_checkpoint",
    )


def _starts(job_id: str, step: int, services: Services) -> list[tuple[int, Path | None]]:
    """Where a replay can begin: checkpoints before the step, the newest first, then the start."""
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
        f"A replay of step {step} begins at step {start}. By the recorded durations it takes more "
        f"than {most:g} s (replay_timeout_seconds): choose a step soon after a checkpoint; there "
        f"are checkpoints of the steps {sorted(kept)}.",
        code="replay_too_long",
    )
