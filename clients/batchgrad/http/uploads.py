"""Send a file in pieces; go on where the service is after a lost connection, or in a later run."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from batchgrad.contract import Upload
from batchgrad.data.source import Source
from batchgrad.errors import BatchgradError, Conflict, ConnectionFailed, NotFound, ServerError
from batchgrad.errors import Timeout as TimedOut
from batchgrad.http.following import ReconnectTimeout
from batchgrad.http.responses import decode
from batchgrad.http.session import Session

PIECE_BYTES = 8 * 2**20
_HASH_BYTES = 2**20
_MOST_CONFLICTS = 100

OnProgress = Callable[[str, int, int | None], None]
"""Called with "hash" or "send" and bytes, or "read" and rows: how many are done, and of how many.

The number of all is None as long as it is not known.
"""


def no_progress(_stage: str, _done: int, _total: int | None) -> None:
    """Do nothing."""


@dataclass(frozen=True)
class Uploader:
    """Sends files over a session; `timeout` is for each answer."""

    session: Session
    reconnect: ReconnectTimeout
    timeout: float | None
    on_progress: OnProgress

    async def send(self, source: Source) -> str:
        """Send a file, or what the service lacks of it; return its digest.

        Raises:
            ConnectionFailed, Timeout, ServerError: the service was away for too long. A later call
                goes on where this one has ended.
        """
        digest, length = await self._digest(source), source.length
        failures, conflicts, furthest = 0, 0, -1
        at: int | None = None
        while at is None or at < length:
            try:
                if at is None:
                    at = await self._begin(digest, length)
                else:
                    at = await self._piece(source, digest, at)
            except (ConnectionFailed, TimedOut, ServerError) as error:
                if not (may_pass(error) and self.reconnect.allows_retry(error)):
                    raise
                failures += 1
                await self.session.sleep(self.session.retries.backoff(failures))
                at = None
            except (Conflict, NotFound) as error:
                # A piece arrived and its answer was lost; or another client sends the same file.
                conflicts += 1
                if at is None or conflicts > _MOST_CONFLICTS or not _is_of_place(error):
                    raise
                at = None
            else:
                self.on_progress("send", at, length)
                if at > furthest:
                    self.reconnect.reset()
                    failures, conflicts, furthest = 0, 0, at
        return digest

    async def _digest(self, source: Source) -> str:
        sha, done, length = hashlib.sha256(), 0, source.length
        while True:
            piece = await self.session.call(lambda at=done: _hashed(source, sha.update, at))  # type: ignore[misc]
            if not piece:
                return f"sha256:{sha.hexdigest()}"
            done += piece
            self.on_progress("hash", done, length)

    async def _begin(self, digest: str, length: int) -> int:
        request = {"digest": digest, "bytes": length}
        answer = await self.session.send_json("POST", "/v1/uploads", request, timeout=self.timeout)
        return decode(Upload, answer).received

    async def _piece(self, source: Source, digest: str, at: int) -> int:
        piece = await self.session.call(lambda: source.read(at, PIECE_BYTES))
        answer = await self.session.send(
            "PATCH",
            f"/v1/uploads/{digest}",
            body=piece,
            headers={"Content-Type": "application/octet-stream", "Upload-Offset": str(at)},
            timeout=self.timeout,
        )
        return decode(Upload, answer).received


def _hashed(source: Source, update: Callable[[bytes], None], at: int) -> int:
    """Hash up to PIECE_BYTES of the file, and return how many."""
    done = 0
    while done < PIECE_BYTES and (piece := source.read(at + done, _HASH_BYTES)):
        update(piece)
        done += len(piece)
    return done


def may_pass(error: BatchgradError) -> bool:
    """Whether the service may answer otherwise soon, as after a restart; not if a disk is full."""
    return not isinstance(error, ServerError) or error.status in {502, 503, 504}


def _is_of_place(error: BatchgradError) -> bool:
    """Whether the service has another part of the file than this client thought."""
    codes = {"wrong_offset", "upload_not_found"}
    return isinstance(error, Conflict | NotFound) and error.problem.code in codes
