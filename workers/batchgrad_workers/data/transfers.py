"""Read a remote file in chunks: from the service over HTTP, or from a blob store by fsspec."""

import time
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

CHUNK_BYTES = 2**20
SILENCE_SECONDS = 30.0
PAUSES_SECONDS = (0.1, 0.4, 1.0)
"""Pauses after attempts that received nothing; after the last pause there is one more attempt."""

_TRANSIENT = frozenset({429, 500, 502, 503, 504})


class DatasetUnavailable(Exception):
    """A dataset or one of its files is not available; one line that says why and what to do."""


class _NoRedirects(HTTPRedirectHandler):
    """Refuses redirects, which would send the secret to another address."""

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
    """Read `size_bytes` at `url`; after a broken connection, resume where it broke.

    Raises:
        DatasetUnavailable: refused, or too many attempts in a row received nothing.
    """
    received, failures = 0, 0
    while received < size_bytes:
        headers = {"Authorization": f"Bearer {secret}", "Range": f"bytes={received}-"}
        before, problem = received, "the connection ended early"
        try:
            request = Request(url, headers=headers)  # noqa: S310 - fetch.py passes http URLs only
            with _OPENER.open(request, timeout=SILENCE_SECONDS) as answer:
                if answer.status != 206:
                    raise DatasetUnavailable(
                        f"it answered {answer.status} to a Range request, but this service "
                        "answers 206: another server answers there, or a proxy changes requests"
                    )
                while chunk := answer.read(CHUNK_BYTES):
                    received += len(chunk)
                    yield chunk
        except HTTPError as error:
            with error:
                problem = f"it answered {error.code} {error.reason}"
                if error.code not in _TRANSIENT:
                    raise DatasetUnavailable(_refusal(problem, error)) from None
        except (OSError, HTTPException) as error:
            problem = str(error) or type(error).__name__
        if received > before:
            failures = 0
        elif failures == len(pauses_seconds):
            raise DatasetUnavailable(f"{problem}, after {failures + 1} attempts")
        else:
            sleep(pauses_seconds[failures])
            failures += 1


def _refusal(problem: str, error: HTTPError) -> str:
    if 300 <= error.code < 400:
        return f"{problem}, to {error.headers['Location']}: set --advertised-url to that address"
    if error.code == 403:
        return f"{problem}: the job has ended or belongs to another service"
    return problem


def from_store(url: str) -> Iterator[bytes]:
    """Read the file at an fsspec URL such as s3://bucket/name.

    Raises:
        DatasetUnavailable: not found, not allowed, or the protocol's library is not installed.
    """
    import fsspec  # noqa: PLC0415 - only needed with a blob store

    try:
        with fsspec.open(url, "rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
    except ImportError as error:  # it names the library: "Install s3fs to access S3"
        raise DatasetUnavailable(f"{error} (pip install it on every node)") from error
    except Exception as error:  # each store's library has its own exceptions
        raise DatasetUnavailable(f"{type(error).__name__}: {error}") from error
