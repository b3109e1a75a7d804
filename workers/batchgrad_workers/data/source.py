"""Open a job's dataset on a node: in a directory shared with the service, or in its cache."""

import logging
import os
import platform
import tempfile
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from time import perf_counter
from urllib.parse import urlsplit

from batchgrad_workers.data.dataset import StoredDataset
from batchgrad_workers.data.fetch import fetch
from batchgrad_workers.data.node_cache import NodeCache
from batchgrad_workers.data.transfers import DatasetUnavailable

CACHE_BYTES = 32 * 2**30
_CACHE_BYTES_VARIABLE = "BATCHGRAD_NODE_CACHE_BYTES"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DatasetSource:
    """`path` on the service's host, and `urls` for other nodes, tried in turn: URL/NAME.npy.

    `files` maps array names, in the digest's order, to the bytes of their .npy files. `secret`
    authorizes requests to the service. `cache_directory` None: the node's temporary directory.
    """

    path: Path
    digest: str = ""
    files: dict[str, int] = field(default_factory=dict)
    urls: tuple[str, ...] = ()
    secret: str = field(default="", repr=False)
    cache_directory: Path | None = None
    cache_bytes: int = CACHE_BYTES


def open_dataset(
    source: DatasetSource, environment: Mapping[str, str] = os.environ
) -> StoredDataset:
    """Map the dataset at `path` if the node can read it, else from this node's cache.

    The node's BATCHGRAD_NODE_CACHE_DIR and BATCHGRAD_NODE_CACHE_BYTES override the job's.

    Raises:
        DatasetUnavailable: neither has it; the message lists what was tried.
    """
    try:
        return StoredDataset.open(source.path, source.files)
    except OSError as error:
        if not source.urls:
            raise
        missing = f"{source.path} can't be read here ({error.strerror})"
    try:
        return _from_cache(source, environment)
    except (DatasetUnavailable, OSError) as error:
        raise DatasetUnavailable(
            f"Dataset {source.digest} is not available on {platform.node()}: "
            f"{missing}; {error}.{_advice(source)}"
        ) from error


def _from_cache(source: DatasetSource, environment: Mapping[str, str]) -> StoredDataset:
    parent = environment.get("BATCHGRAD_NODE_CACHE_DIR") or source.cache_directory
    max_bytes = _cache_bytes(environment) or source.cache_bytes
    cache = NodeCache(Path(parent or tempfile.gettempdir()), max_bytes)

    def fill(directory: Path) -> None:
        started = perf_counter()
        for failure in fetch(source.digest, source.files, source.urls, source.secret, directory):
            _log.warning("dataset %s: %s; trying the next URL", source.digest, failure)
        _log.info("dataset %s: fetched in %.1f s", source.digest, perf_counter() - started)

    directory, held = cache.hold(
        source.digest.removeprefix("sha256:"),
        {f"{name}.npy": size_bytes for name, size_bytes in source.files.items()},
        fill,
    )
    dataset = StoredDataset.open(directory, source.files)
    weakref.finalize(dataset, os.close, held)  # evictable when the last process closes it
    return dataset


def _cache_bytes(environment: Mapping[str, str]) -> int | None:
    given = environment.get(_CACHE_BYTES_VARIABLE)
    if not given:
        return None
    if not given.isdecimal() or int(given) < 1:
        raise DatasetUnavailable(
            f"{_CACHE_BYTES_VARIABLE} is {given!r} in this node's environment: set it to a whole "
            f"number of bytes, such as {CACHE_BYTES}"
        )
    return int(given)


def _advice(source: DatasetSource) -> str:
    """What to set if the service's URL is a loopback address, which means the node itself."""
    hosts = [urlsplit(url).hostname or "" for url in source.urls if url.startswith("http")]
    if not any(_is_loopback(host) for host in hosts):
        return ""
    return (
        f" {', '.join(hosts)} is each node itself: start the service with --advertised-url "
        "http://HOST:PORT (BATCHGRAD_ADVERTISED_URL), an address that nodes can reach, or with "
        "--blob-store URL (BATCHGRAD_BLOB_STORE), or share its data directory with the nodes."
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
