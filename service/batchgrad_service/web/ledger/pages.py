"""The pages /jobs/{id}/examples and /jobs/{id}/confusion, and the file of suspects."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Query, Response
from starlette.concurrency import run_in_threadpool

from batchgrad.contract import Job, Ledger, LedgerOrder, RowSet
from batchgrad.downloads.csv_files import ledger_csv
from batchgrad_service.predicting.stored_rows import StoredPredictions
from batchgrad_service.problems import ProblemError
from batchgrad_service.routes.dependencies import Services, ServicesDep
from batchgrad_service.routes.examples import newest_ledger
from batchgrad_service.routes.stored_predictions import (
    predictions_of_set,
    validates_elsewhere,
    with_predictions,
)
from batchgrad_service.web.ledger.cards import drawable, has_classes, of_ledger, of_predictions
from batchgrad_service.web.ledger.confusion import confusion
from batchgrad_service.web.rendering import PageRoute, page
from batchgrad_workers.data.dataset import StoredDataset

router = APIRouter(include_in_schema=False, route_class=PageRoute)
EXAMPLES_SHOWN = 50
MOST_SUSPECTS = 1000

View = Literal["cards", "table"]


@dataclass(frozen=True)
class _Found:
    """A page of the ledger, or why there is none; the same of its predictions."""

    ledger: Ledger | None = None
    missing: str = ""
    unpredicted: str = ""


@router.get("/jobs/{job_id}/examples")
async def read_examples(
    job_id: str,
    services: ServicesDep,
    order: LedgerOrder = "mean_loss",
    after: str | None = None,
    view: View = "cards",
    *,
    predictions: bool = False,
) -> Response:
    """The example ledger, the largest mean loss first; `predictions` come with it if asked for."""
    job = await run_in_threadpool(services.store.job, job_id)
    read = _Found()
    if job.spec.privacy is None:
        read = await _read(job_id, services, order, after, predictions=predictions)
    return await run_in_threadpool(_examples_page, job, services, read, order, after, view)


async def _read(
    job_id: str, services: Services, order: LedgerOrder, after: str | None, *, predictions: bool
) -> _Found:
    try:
        ledger = await run_in_threadpool(
            newest_ledger, job_id, services, order, after, EXAMPLES_SHOWN
        )
    except ProblemError as reason:
        if reason.status != 409:
            raise
        return _Found(missing=reason.detail)  # the job has no step yet
    if not predictions:
        return _Found(ledger)
    try:
        return _Found(await with_predictions(ledger, job_id, services))
    except ProblemError as reason:
        return _Found(ledger, unpredicted=reason.detail)


def _examples_page(
    job: Job,
    services: Services,
    read: _Found,
    order: LedgerOrder,
    after: str | None,
    view: View,
) -> Response:
    ledger = read.ledger
    stored = None if ledger is None else _stored(job.id, services, "training")
    return page(
        "examples.html",
        services,
        job=job,
        private=job.spec.privacy is not None,
        ledger=ledger,
        missing=read.missing,
        unpredicted=read.unpredicted,
        cards=[] if ledger is None else of_ledger(ledger.data, stored),
        order=order,
        after=after,
        view=view,
        views=get_args(View),
        sort_keys=get_args(LedgerOrder),
        pictures=drawable(stored),
        target="Label" if has_classes(stored) else "Target",
        most_suspects=MOST_SUSPECTS,
    )


@router.get("/jobs/{job_id}/suspects.csv")
async def read_suspects(
    job_id: str,
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=MOST_SUSPECTS)] = 100,
) -> Response:
    """The examples with the largest mean losses, with predictions where there can be any."""
    ledger = await run_in_threadpool(newest_ledger, job_id, services, "mean_loss", None, limit)
    with suppress(ProblemError):  # then their columns are empty; the page says why
        ledger = await with_predictions(ledger, job_id, services)
    return Response(
        ledger_csv(ledger),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="suspects-{job_id}.csv"'},
    )


@router.get("/jobs/{job_id}/confusion")
async def read_confusion(
    job_id: str,
    services: ServicesDep,
    rows: Annotated[RowSet | None, Query(alias="set")] = None,
    label: int | None = None,
    predicted: int | None = None,
) -> Response:
    """Counts of label and predicted class; with both of these the examples of one cell."""
    job = await run_in_threadpool(services.store.job, job_id)
    chosen: RowSet = rows or ("training" if job.spec.held_out is None else "validation")
    found, missing = None, ""
    if job.spec.privacy is None:
        try:
            found = await predictions_of_set(job_id, services, chosen)
        except ProblemError as reason:
            missing = reason.detail
    cell = None if label is None or predicted is None else (label, predicted)
    return await run_in_threadpool(_confusion_page, job, services, chosen, found, missing, cell)


def _confusion_page(
    job: Job,
    services: Services,
    rows: RowSet,
    found: StoredPredictions | None,
    missing: str,
    cell: tuple[int, int] | None,
) -> Response:
    return page(
        "confusion.html",
        services,
        job=job,
        private=job.spec.privacy is not None,
        rows=rows,
        sets=_sets(job),
        found=found,
        missing=missing,
        confusion=found and confusion(found),
        **_cell_shown(job, services, rows, found, cell),
    )


def _sets(job: Job) -> list[RowSet]:
    """The sets of rows that the job has."""
    rule = job.spec.held_out
    if rule is None:
        return ["training"]
    return ["training", "validation", "test"] if rule.rows else ["training", "validation"]


def _cell_shown(
    job: Job,
    services: Services,
    rows: RowSet,
    found: StoredPredictions | None,
    cell: tuple[int, int] | None,
) -> dict[str, Any]:
    """The examples of a cell, those of which the network is most sure first."""
    names = found.classes if found is not None else None
    is_known = cell is not None and names is not None and all(0 <= x < len(names) for x in cell)
    stored = _stored(job.id, services, rows) if is_known else None
    if found is None or stored is None:
        return {"cell": None, "cards": [], "in_cell": 0, "pictures": False, "own": True}
    pairs = zip(found.target, found.prediction, strict=True)
    places = [place for place, pair in enumerate(pairs) if pair == cell]
    places.sort(key=lambda place: -(found.probability[place] or 0))
    own = validates_elsewhere(job.id, services, rows) is None
    return {
        "cell": cell,
        "cards": of_predictions(found, places[:EXAMPLES_SHOWN], stored),
        "in_cell": len(places),
        "pictures": own and drawable(stored),
        "own": own,
    }


def _stored(job_id: str, services: Services, rows: RowSet) -> StoredDataset | None:
    """The dataset of a set of rows; None if it was deleted."""
    digest = validates_elsewhere(job_id, services, rows)
    digest = digest or services.store.job_inputs(job_id).dataset_digest
    try:
        return StoredDataset.open(services.datasets.directory(digest))
    except FileNotFoundError:
        return None
