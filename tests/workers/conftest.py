"""Fixtures for tests of workers: one BLAS thread, and a dataset on a server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from threadpoolctl import threadpool_limits

from batchgrad_workers.data.source import DatasetSource
from tests.workers.file_server import FileServer, serving
from tests.workers.sources import source_of, stored


@pytest.fixture(autouse=True)
def one_blas_thread() -> Iterator[None]:
    """As in a worker: one microbatch is one single-threaded computation."""
    with threadpool_limits(limits=1):
        yield


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FileServer]:
    """Has the files of a dataset."""
    with serving(stored(tmp_path / "service")) as server:
        yield server


@pytest.fixture
def source(server: FileServer) -> DatasetSource:
    """A dataset that only `server` has."""
    return source_of(server.directory, server.url)
