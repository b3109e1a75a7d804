"""/static: the pages' own files, the guide's figures, and Plotly's script."""

import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.resources import files
from importlib.resources.abc import Traversable

from fastapi import APIRouter, Request, Response

from batchgrad_service.http.responses import etag_matches
from batchgrad_service.problems import NotFoundError

router = APIRouter(include_in_schema=False)
PLOTLY = f"plotly-{metadata.version('plotly')}.min.js"
_KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FOREVER = "public, max-age=31536000, immutable"  # for a file with its version in its name


@dataclass(frozen=True)
class Asset:
    """A file, plain and compressed."""

    plain: bytes
    compressed: bytes
    media_type: str
    etag: str


@router.get("/static/{name:path}")
def read_asset(name: str, request: Request) -> Response:
    """One file; 304 if the browser has it."""
    asset = _asset(name)
    if asset is None:
        raise NotFoundError(f"No static file has the name {name!r:.100}.")
    headers = {
        "ETag": asset.etag,
        "Cache-Control": _FOREVER if name == PLOTLY else "no-cache",
        "Vary": "Accept-Encoding",
    }
    if etag_matches(request.headers.get("if-none-match"), asset.etag):
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(asset.compressed, headers=headers, media_type=asset.media_type)
    return Response(asset.plain, headers=headers, media_type=asset.media_type)


def _asset(name: str) -> Asset | None:
    return _load(name) if name == PLOTLY or name in _own_files() else None


@cache
def _own_files() -> dict[str, Traversable]:
    """By name, those of the folder `static` and of its folders."""
    return _below(files(__package__).joinpath("static"))


def _below(folder: Traversable, prefix: str = "") -> dict[str, Traversable]:
    found: dict[str, Traversable] = {}
    for one in folder.iterdir():
        found |= _below(one, f"{prefix}{one.name}/") if one.is_dir() else {prefix + one.name: one}
    return found


@cache
def _load(name: str) -> Asset:
    plain = _plotly() if name == PLOTLY else _own_files()[name].read_bytes()
    return Asset(
        plain=plain,
        compressed=gzip.compress(plain, 6, mtime=0),
        media_type=_KINDS[name[name.rindex(".") :]],
        etag=f'"{hashlib.sha256(plain).hexdigest()[:16]}"',
    )


def _plotly() -> bytes:
    return files("plotly").joinpath("package_data", "plotly.min.js").read_bytes()


@cache
def plotly_style_ids() -> list[str]:
    """Ids of the style elements that Plotly's script adds unless the page has them.

    They style maps, which the pages do not use, and a Content-Security-Policy without
    'unsafe-inline' blocks them. So the pages have empty elements with these ids.
    """
    found = re.findall(rb'getElementById\("([0-9a-f]{64})"\)', _plotly())
    return sorted({name.decode() for name in found})
