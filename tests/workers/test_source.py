"""Open a dataset on a node: from a shared directory, a blob store, or the service."""

import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pytest

from batchgrad_workers.data.source import DatasetSource, open_dataset
from batchgrad_workers.data.transfers import DatasetUnavailable, over_http
from tests.workers.file_server import SECRET, FileServer, serving
from tests.workers.sources import (
    ARRAYS,
    PATIENCE_SECONDS,
    as_json,
    entry,
    flip,
    open_in_vain,
    source_of,
    stored,
)


def test_a_path_that_is_there_is_used_as_it_is(server: FileServer, source: DatasetSource) -> None:
    dataset = open_dataset(replace(source, path=server.directory), {})

    assert dataset.inputs.tolist() == ARRAYS["inputs"].tolist()
    assert server.requests == []
    assert source.cache_directory is not None
    assert not source.cache_directory.exists()


def test_without_urls_a_missing_path_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"directory: .*none"):
        open_dataset(DatasetSource(tmp_path / "none"), {})


@pytest.mark.parametrize("names", [["inputs", "targets"], list(ARRAYS)])
def test_it_is_fetched_once_verified_and_mapped(tmp_path: Path, names: list[str]) -> None:
    arrays = {name: ARRAYS[name] for name in names}
    with serving(stored(tmp_path / "service", arrays)) as server:
        source = source_of(server.directory, server.url, arrays=arrays)
        first, second = open_dataset(source, {}), open_dataset(source, {})

    assert [path.rpartition("/")[2] for path, _ in server.requests] == [f"{n}.npy" for n in names]
    for dataset in (first, second):
        assert isinstance(dataset.inputs.base, np.memmap)
        assert dataset.inputs.tobytes() == arrays["inputs"].tobytes()
        assert dataset.targets.tobytes() == arrays["targets"].tobytes()
        assert (dataset.weights is None) == ("weights" not in names)
    assert entry(source).parent.stat().st_mode & 0o777 == 0o700


def test_the_node_s_environment_comes_before_the_job_s(
    tmp_path: Path, source: DatasetSource
) -> None:
    open_dataset(source, {"BATCHGRAD_NODE_CACHE_DIR": str(tmp_path / "own")})
    assert list((tmp_path / "own").glob("*/*/content/inputs.npy"))
    with pytest.raises(DatasetUnavailable, match=r"may hold 1000 \(BATCHGRAD_NODE_CACHE_BYTES\)"):
        open_dataset(source, {"BATCHGRAD_NODE_CACHE_BYTES": "1000"})


@pytest.mark.parametrize("given", ["32GiB", "0", "-1", "1e9"])
def test_a_cache_size_that_is_no_number_of_bytes_is_named(
    source: DatasetSource, given: str
) -> None:
    with pytest.raises(DatasetUnavailable) as caught:
        open_dataset(source, {"BATCHGRAD_NODE_CACHE_BYTES": given})
    assert f"BATCHGRAD_NODE_CACHE_BYTES is {given!r} in this node's environment" in str(
        caught.value
    )
    assert "such as 34359738368" in str(caught.value)


def test_a_broken_connection_resumes_where_it_broke(
    server: FileServer, source: DatasetSource
) -> None:
    server.breaks, server.break_after = 2, 100_000

    open_dataset(source, {})

    assert [byte_range for _, byte_range in server.requests[:3]] == [
        "bytes=0-",
        "bytes=100000-",
        "bytes=200000-",
    ]


def test_attempts_that_receive_nothing_end(server: FileServer) -> None:
    server.status = 503
    slept: list[float] = []
    chunks = over_http(
        f"{server.url}/inputs.npy", SECRET, 10, pauses_seconds=(1, 2), sleep=slept.append
    )

    with pytest.raises(DatasetUnavailable, match=r"it answered 503 .*, after 3 attempts"):
        next(chunks)
    assert slept == [1, 2]
    assert len(server.requests) == 3


def test_a_wrong_secret_is_refused_at_once(server: FileServer, source: DatasetSource) -> None:
    message = open_in_vain(replace(source, secret=SECRET[1:]))
    assert f"{server.url}: it answered 403" in message
    assert len(server.requests) == 1
    assert SECRET not in repr(source)


def test_a_redirect_is_not_followed(server: FileServer, source: DatasetSource) -> None:
    server.status, server.location = 307, "http://elsewhere/"
    assert "to http://elsewhere/: set --advertised-url to that address" in open_in_vain(source)
    assert len(server.requests) == 1


def test_proxies_from_the_environment_are_not_used(
    source: DatasetSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-m", "tests.workers.fetched", as_json(source)]
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        monkeypatch.delenv("no_proxy", raising=False)
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE_SECONDS, check=False)
    assert done.stdout == b"300\n", done.stderr


def test_a_loopback_address_without_an_answer_says_what_to_set(
    server: FileServer, source: DatasetSource
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1/jobs/j/dataset"
    message = open_in_vain(replace(source, urls=(url,)))
    assert "Connection refused" in message
    assert "--advertised-url http://HOST:PORT (BATCHGRAD_ADVERTISED_URL)" in message
    assert "not-here can't be read here" in message


@pytest.mark.parametrize("place", [-1, 130, 0, 64, 20])
def test_corrupted_content_is_refused_and_named(
    server: FileServer, source: DatasetSource, place: int
) -> None:
    """In the data, the magic bytes, the header's text."""
    flip(server.directory / "inputs.npy", place)
    message = open_in_vain(source)
    assert server.url in message
    assert "so it is corrupted" in message or "is not a .npy file" in message


def test_the_same_bytes_in_another_order_are_refused(
    server: FileServer, source: DatasetSource
) -> None:
    np.save(server.directory / "inputs.npy", ARRAYS["inputs"].T)
    assert "inputs.npy is not of version 1.0, C order" in open_in_vain(source)


def test_big_endian_bytes_are_refused(server: FileServer, source: DatasetSource) -> None:
    """The dtype's name and the bytes are what the digest covers; the byte order is not."""
    np.save(server.directory / "inputs.npy", ARRAYS["inputs"].view(">f4"))
    assert "little-endian" in open_in_vain(source)


@pytest.mark.parametrize("change", [-1, 1])
def test_another_length_is_refused(server: FileServer, source: DatasetSource, change: int) -> None:
    file = server.directory / "targets.npy"
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size + change)
    message = open_in_vain(source)
    assert ("targets.npy has" in message) if change > 0 else ("it answered 416" in message)


def test_the_next_url_is_tried(
    server: FileServer, source: DatasetSource, caplog: pytest.LogCaptureFixture
) -> None:
    nowhere = f"file://{server.directory.parent}/nowhere"
    dataset = open_dataset(replace(source, urls=(nowhere, server.url)), {})
    assert dataset.inputs.tobytes() == ARRAYS["inputs"].tobytes()
    [record] = caplog.records
    assert f"{nowhere}: FileNotFoundError" in record.getMessage()


@pytest.mark.parametrize("protocol", ["file", "memory"])
def test_a_blob_store(server: FileServer, source: DatasetSource, protocol: str) -> None:
    url = f"{protocol}://{server.directory}"
    if protocol == "memory":
        fsspec.filesystem("memory").put(str(server.directory), url, recursive=True)
    dataset = open_dataset(replace(source, urls=(url,)), {})
    assert dataset.inputs.tobytes() == ARRAYS["inputs"].tobytes()
    assert server.requests == []
    if protocol == "memory":
        fsspec.filesystem("memory").rm(url, recursive=True)


def test_a_missing_library_is_named(source: DatasetSource) -> None:
    """As for s3 without s3fs: fsspec knows the protocol, its library is not here."""
    fsspec.register_implementation(
        "lacking", "not_installed.Store", clobber=True, errtxt="Install lackingfs to access it"
    )
    message = open_in_vain(replace(source, urls=("lacking://host/prefix",)))
    assert "Install lackingfs to access it" in message
    assert "pip install it on every node" in message
