"""Fetch the file that an operation has written, in pieces that are asked for again if need be."""

from collections.abc import AsyncIterator

from batchgrad.contract import Operation
from batchgrad.errors import UnexpectedAnswer
from batchgrad.http.requests import operation_path
from batchgrad.http.session import Session

PIECE_BYTES = 8 * 2**20


async def result_pieces(
    session: Session, operation: Operation, *, timeout: float | None
) -> AsyncIterator[bytes]:
    """The pieces of an operation's result, in order."""
    length = operation.bytes
    if length is None:
        raise UnexpectedAnswer(f"Operation {operation.id} has succeeded without a file.")
    path = f"{operation_path(operation.id)}/result"
    for start in range(0, length, PIECE_BYTES):
        last = min(start + PIECE_BYTES, length) - 1
        headers = {"Accept": "*/*", "Range": f"bytes={start}-{last}"}
        piece = (await session.send("GET", path, headers=headers, timeout=timeout)).content
        if len(piece) != last + 1 - start:
            raise UnexpectedAnswer(
                f"The service sent {len(piece)} of {last + 1 - start} bytes of a result: is there "
                "a proxy that leaves out Range?"
            )
        yield piece
