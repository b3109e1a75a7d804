"""A file from somewhere else, chunk by chunk: from the service over HTTP, or by fsspec."""

import time
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

CHUNK_BYTES = 2**20
SILENCE_SECONDS = 30.0
PAUSES_SECONDS = (0.1, 0.4, 1.0)
"""Waits after attempts that brought nothing; one more such attempt is the last."""

_NOT_NOW = frozenset({429, 500, 502, 503, 504})


class DatasetUnavailable(Exception):
    """A dataset, or one file of it, can't be had; one line that says why and what to do."""


class _NoRedirects(HTTPRedirectHandler):
    """A redirect would carry the secret to wherever it points."""

    def redirect_request(self, *_: Any) -> None:
        return None


# No proxies from the environment: the service is inside the cluster, and so is the secret.
_OPENER = build_opener(ProxyHandler({}), _NoRedirects())


def over_http(
    url: str,
    secret: str,
    size_bytes: int,
    *,
    pauses_seconds: Sequence[float] = PAUSES_SECONDS,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[bytes]:
    """The bytes at `url`, which shall be `size_bytes`; after a break, on from where it was.

    Raises:
        DatasetUnavailable: refused, or too many attempts in a row brought nothing.
    """
    received, fruitless = 0, 0
    while received < size_bytes:
        headers = {"Authorization": f"Bearer {secret}", "Range": f"bytes={received}-"}
        before, trouble = received, "the connection ended early"
        try:
            request = Request(url, headers=headers)  # noqa: S310 - fetching.py asks by http alone
            with _OPENER.open(request, timeout=SILENCE_SECONDS) as answer:
                if answer.status != 206:
                    raise DatasetUnavailable(
                        f"it answered {answer.status} to a Range request, where this service "
                        "answers 206: something else answers there, or a proxy changes requests"
                    )
                while chunk := answer.read(CHUNK_BYTES):
                    received += len(chunk)
                    yield chunk
        except HTTPError as error:
            with error:
                trouble = f"it answered {error.code} {error.reason}"
                if error.code not in _NOT_NOW:
                    raise DatasetUnavailable(_refusal(trouble, error)) from None
        except (OSError, HTTPException) as error:
            trouble = str(error) or type(error).__name__
        if received > before:
            fruitless = 0
        elif fruitless == len(pauses_seconds):
            raise DatasetUnavailable(f"{trouble}, after {fruitless + 1} attempts")
        else:
            sleep(pauses_seconds[fruitless])
            fruitless += 1


def _refusal(trouble: str, error: HTTPError) -> str:
    if 300 <= error.code < 400:
        return f"{trouble}, to {error.headers['Location']}: give that address as --advertised-url"
    if error.code == 403:
        return f"{trouble}: the job has ended or is of another service"
    return trouble


def from_store(url: str) -> Iterator[bytes]:
    """The bytes at an fsspec URL such as s3://bucket/name.

    Raises:
        DatasetUnavailable: not there, not allowed, or the protocol's library is not installed.
    """
    import fsspec  # noqa: PLC0415 - only where a blob store is used

    try:
        with fsspec.open(url, "rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
    except ImportError as error:  # it names the library: "Install s3fs to access S3"
        raise DatasetUnavailable(f"{error} (pip install it on every node)") from error
    except Exception as error:  # each store's library has exceptions of its own
        raise DatasetUnavailable(f"{type(error).__name__}: {error}") from error
