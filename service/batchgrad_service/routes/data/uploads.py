"""/v1/uploads: send files in parts, and go on after a lost connection."""

from typing import Annotated

from fastapi import APIRouter, Header, Path, Request, Response
from starlette.concurrency import run_in_threadpool

from batchgrad.contract import Upload, UploadRequest
from batchgrad.contract.wire import SHA256_PATTERN
from batchgrad_service.http.json_bodies import json_body, read_body
from batchgrad_service.http.responses import json_response
from batchgrad_service.routes.dependencies import ServicesDep

router = APIRouter(prefix="/v1/uploads", tags=["datasets"])
Digest = Annotated[str, Path(pattern=SHA256_PATTERN)]
WRITE_BYTES = 2**20
_BYTES = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.post(
    "",
    status_code=201,
    response_model=Upload,
    responses={200: {"model": Upload, "description": "The upload was begun before"}},
    openapi_extra=json_body(UploadRequest),
)
async def begin_upload(request: Request, services: ServicesDep) -> Response:
    """Begin the upload of a file, or ask where to go on: at byte `received`.

    201 for a new upload. 200 if a part of the file is there, or all of it.
    """
    async with services.bodies.json(request) as body:
        wanted = read_body(UploadRequest, body)
    upload, new = await run_in_threadpool(services.uploads.begin, wanted)
    if not new:
        return json_response(upload)
    return json_response(upload, 201, {"Location": f"/v1/uploads/{upload.digest}"})


@router.patch("/{digest}", response_model=Upload, openapi_extra=_BYTES)
async def append_to_upload(
    digest: Digest,
    services: ServicesDep,
    request: Request,
    upload_offset: Annotated[int, Header(ge=0)],
) -> Response:
    """Send the next bytes of a file, which begin at byte `Upload-Offset`.

    409 if the service has another number of bytes. What arrived before a lost connection stays.
    The answer to the last bytes comes when the digest of the whole file was checked.
    """
    uploads, at = services.uploads, upload_offset
    services.disk.require(int(request.headers.get("content-length", "0")))
    buffer = bytearray()
    async for chunk in request.stream():
        buffer += chunk
        if len(buffer) >= WRITE_BYTES:
            services.disk.require(len(buffer))  # a body in chunks has not told its length
            await run_in_threadpool(uploads.append, digest, at, bytes(buffer))
            at += len(buffer)
            buffer.clear()
    await run_in_threadpool(uploads.append, digest, at, bytes(buffer))
    return json_response(await run_in_threadpool(uploads.settle, digest))


@router.get("/{digest}", response_model=Upload)
def read_upload(digest: Digest, services: ServicesDep) -> Response:
    """How much of a file is there."""
    return json_response(services.uploads.find(digest))


@router.delete("/{digest}", status_code=204)
def delete_upload(digest: Digest, services: ServicesDep) -> Response:
    """Remove an uploaded file, or a part of one, that no operation reads."""
    services.uploads.remove(digest)
    return Response(status_code=204)
