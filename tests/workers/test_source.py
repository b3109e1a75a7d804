"""How a dataset comes to a node: from a shared folder, a blob store, or the service."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from pydantic import TypeAdapter

from batchgrad_workers.digests import digest
from batchgrad_workers.source import DatasetSource, open_dataset
from batchgrad_workers.transfers import DatasetUnavailable, over_http
from tests.workers.file_server import SECRET, FileServer, serving

PATIENCE_SECONDS = 30
ARRAYS: dict[str, Any] = {
    "inputs": np.arange(90_000, dtype=np.float32).reshape(300, 300),
    "targets": np.arange(300) % 3,
    "weights": np.linspace(0, 1, 300),
}


def stored(directory: Path, arrays: dict[str, Any] = ARRAYS) -> Path:
    directory.mkdir()
    for name, array in arrays.items():
        np.save(directory / f"{name}.npy", array)
    return directory


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FileServer]:
    with serving(stored(tmp_path / "service")) as server:
        yield server


def source_of(directory: Path, *urls: str, arrays: dict[str, Any] = ARRAYS) -> DatasetSource:
    """A dataset of another host: the files are in `directory`, the path is not to be found."""
    root = directory.parent
    return DatasetSource(
        path=root / "not-here",
        digest=digest(arrays),
        files={name: (directory / f"{name}.npy").stat().st_size for name in arrays},
        urls=urls,
        secret=SECRET,
        cache_directory=root / "cache",
    )


@pytest.fixture
def source(server: FileServer) -> DatasetSource:
    return source_of(server.directory, server.url)


def entry(source: DatasetSource) -> Path:
    assert source.cache_directory is not None
    [root] = source.cache_directory.glob("batchgrad-datasets-*")
    return root / source.digest.removeprefix("sha256:")


def open_in_vain(source: DatasetSource) -> str:
    with pytest.raises(DatasetUnavailable) as caught:
        open_dataset(source, {})
    assert not [path for path in entry(source).iterdir() if path.is_dir()]
    said = str(caught.value)
    assert source.digest in said
    assert "\n" not in said
    return said


def test_a_path_that_is_there_is_used_as_it_is(server: FileServer, source: DatasetSource) -> None:
    dataset = open_dataset(replace(source, path=server.directory), {})

    assert dataset.inputs.tolist() == ARRAYS["inputs"].tolist()
    assert server.requests == []
    assert source.cache_directory is not None
    assert not source.cache_directory.exists()


def test_without_other_places_a_missing_path_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none.inputs\.npy"):
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


def test_a_broken_connection_goes_on_from_where_it_was(
    server: FileServer, source: DatasetSource
) -> None:
    server.breaks, server.break_after = 2, 100_000

    open_dataset(source, {})

    assert [asked for _, asked in server.requests[:3]] == [
        "bytes=0-",
        "bytes=100000-",
        "bytes=200000-",
    ]


def test_attempts_that_bring_nothing_end(server: FileServer) -> None:
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
    said = open_in_vain(replace(source, secret=SECRET[1:]))
    assert f"{server.url}: it answered 403" in said
    assert len(server.requests) == 1
    assert SECRET not in repr(source)


def test_a_redirect_is_not_followed(server: FileServer, source: DatasetSource) -> None:
    server.status, server.location = 307, "http://elsewhere/"
    assert "to http://elsewhere/: give that address as --advertised-url" in open_in_vain(source)
    assert len(server.requests) == 1


def test_proxies_from_the_environment_are_not_asked(
    source: DatasetSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-m", "tests.workers.fetched", as_json(source)]
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        monkeypatch.delenv("no_proxy", raising=False)
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE_SECONDS, check=False)
    assert done.stdout == b"300\n", done.stderr


def test_a_loopback_address_that_nobody_answers_says_what_to_set(
    server: FileServer, source: DatasetSource
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1/jobs/j/dataset"
    said = open_in_vain(replace(source, urls=(url,)))
    assert "Connection refused" in said
    assert "--advertised-url http://HOST:PORT (BATCHGRAD_ADVERTISED_URL)" in said
    assert "not-here can't be read here" in said


def flip(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("place", [-1, 130, 0, 64, 20])
def test_corrupted_content_is_refused_and_named(
    server: FileServer, source: DatasetSource, place: int
) -> None:
    """In the data, the magic bytes, the header's text."""
    flip(server.directory / "inputs.npy", place)
    said = open_in_vain(source)
    assert server.url in said
    assert "it is corrupted there" in said or "is no .npy file" in said


@pytest.mark.parametrize("array", [np.asfortranarray(ARRAYS["inputs"].T), ARRAYS["inputs"].T])
def test_the_same_bytes_in_another_order_are_refused(
    server: FileServer, source: DatasetSource, array: Any
) -> None:
    np.save(server.directory / "inputs.npy", array)
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
    said = open_in_vain(source)
    assert ("targets.npy has" in said) if change > 0 else ("it answered 416" in said)


def test_the_next_place_is_tried(
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
    said = open_in_vain(replace(source, urls=("lacking://host/prefix",)))
    assert "Install lackingfs to access it" in said
    assert "pip install it on every node" in said


def test_a_torn_or_changed_entry_is_fetched_again(
    server: FileServer, source: DatasetSource
) -> None:
    kept = open_dataset(source, {})  # somebody has it open: that must hold up nobody
    inputs = entry(source) / "content" / "inputs.npy"
    for spoil in (
        lambda: flip(inputs, -1),
        lambda: inputs.write_bytes(inputs.read_bytes()[:-1]),
        (entry(source) / "content" / "weights.npy").unlink,
        lambda: shutil.rmtree(entry(source) / "content"),
    ):
        server.requests.clear()
        time.sleep(0.02)  # a file's time is as coarse as the kernel's tick
        spoil()
        assert open_dataset(source, {}).inputs.tobytes() == ARRAYS["inputs"].tobytes()
        assert len(server.requests) == 3
    assert kept.targets.tolist() == ARRAYS["targets"].tolist()
    server.requests.clear()
    open_dataset(source, {})
    assert server.requests == []


def test_a_directory_of_somebody_else_is_not_used(source: DatasetSource, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / f"batchgrad-datasets-{os.getuid()}").mkdir(mode=0o755)
    with pytest.raises(DatasetUnavailable, match="not this user's private directory"):
        open_dataset(source, {})


def as_json(source: DatasetSource) -> str:
    return TypeAdapter(DatasetSource).dump_json(source).decode()


def opener(source: DatasetSource, *how: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.workers.fetched", as_json(source), *how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def first_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_processes_that_want_it_at_once_fetch_it_once(
    server: FileServer, source: DatasetSource
) -> None:
    server.seconds = 0.2
    processes = [opener(source) for _ in range(3)]
    try:
        said = [process.communicate(timeout=PATIENCE_SECONDS)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert said == ["300\n"] * 3
    assert len(server.requests) == 3  # inputs, targets, weights


def test_a_killed_fetcher_holds_up_nobody(server: FileServer, source: DatasetSource) -> None:
    server.seconds = PATIENCE_SECONDS
    with opener(source) as fetcher:
        try:
            while not server.requests:
                assert fetcher.poll() is None
        finally:
            fetcher.send_signal(signal.SIGKILL)
    assert (entry(source) / "partial").exists()
    server.seconds = 0
    open_dataset(source, {})
    assert not (entry(source) / "partial").exists()


def test_the_least_recently_used_that_nobody_holds_goes_first(
    server: FileServer, tmp_path: Path
) -> None:
    def made(number: int) -> DatasetSource:
        arrays = {**ARRAYS, "targets": ARRAYS["targets"] + number}
        directory = stored(tmp_path / f"d{number}", arrays)
        of = source_of(directory, f"file://{directory}", arrays=arrays)
        return replace(of, cache_bytes=int(3.5 * sum(of.files.values())))

    def here() -> list[bool]:
        return [(entry(source) / "content").exists() for source in sources]

    sources = [made(number) for number in range(5)]
    with opener(sources[0], "stay") as holder:
        try:
            assert first_line(holder) == "300\n"
            for number in (1, 2, 1, 3):  # 2 has waited longest when there is no more room
                open_dataset(sources[number], {})
            assert here() == [True, True, False, True, False]
            small = replace(sources[4], cache_bytes=sum(sources[4].files.values()))
            said = open_in_vain(small)
            assert "the cache" in said
            assert here() == [True, False, False, False, False]
        finally:
            holder.kill()
    open_dataset(small, {})
    assert here() == [False, False, False, False, True]
