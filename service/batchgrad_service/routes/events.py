"""/v1/jobs/{id}/events: a job's events as a stream or a list."""

from typing import IO, Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from batchgrad.contract import Event, EventType, Page
from batchgrad_service.http.responses import file_response, json_response
from batchgrad_service.problems import BadRequestError
from batchgrad_service.routes.dependencies import ServicesDep

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
Seq = Annotated[int, Query(ge=0, lt=2**63)]
_TEXT = {"type": "string"}
_FRAME = {  # of each event in the stream; `data` holds an Event as JSON
    "type": "object",
    "properties": {"id": _TEXT, "event": _TEXT, "data": _TEXT},
    "required": ["data"],
}


@router.get(
    "/{job_id}/events",
    response_model=Page[Event],
    responses={
        200: {
            "description": "A stream; with Accept: application/json one page",
            "content": {"text/event-stream": {"schema": _FRAME}},
        }
    },
)
async def read_events(
    job_id: str,
    services: ServicesDep,
    request: Request,
    after: Seq = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    last_event_id: Annotated[str | None, Header()] = None,
    kind: Annotated[EventType | None, Query(alias="type")] = None,
    max_points: Annotated[int, Query(ge=2, le=10_000)] = 1000,
) -> Response:
    """A job's events after the event `after` (or Last-Event-ID).

    With `type`, all events of one type as a list, thinned to max_points with equal distances.

    The last event of the stream is `end`. The stream also ends when the service stops: connect
    again with Last-Event-ID, as browsers do by themselves.
    """
    if kind is not None:

        def thinned() -> IO[bytes]:
            found = services.store.thinned_events(job_id, kind, max_points)
            return services.spool.file(Page[Event](data=found).model_dump_json().encode())

        return file_response(await services.run_heavy(thinned), "application/json")
    accept = request.headers.get("accept", "")
    if "application/json" in accept and "text/event-stream" not in accept:
        return json_response(
            await run_in_threadpool(services.store.events, job_id, after=after, limit=limit)
        )
    await run_in_threadpool(services.store.job, job_id)
    if last_event_id:
        if not (last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) < 19):
            raise BadRequestError(
                f"Last-Event-ID is {last_event_id!r:.60}; expected the id of an event, which is a "
                "number."
            )
        after = int(last_event_id)
    return StreamingResponse(
        services.feeds.follow(job_id, after, services.keep_alive_seconds),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )
