"""A node's cache of datasets: fetched once, complete or absent, bounded in bytes."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from batchgrad_workers.data.source import DatasetSource, open_dataset
from batchgrad_workers.data.transfers import DatasetUnavailable
from tests.workers.file_server import FileServer
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


def test_a_torn_or_changed_entry_is_fetched_again(
    server: FileServer, source: DatasetSource
) -> None:
    kept = open_dataset(source, {})  # a process that has it open must block no other
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


def test_a_directory_that_is_not_private_is_refused(source: DatasetSource, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / f"batchgrad-datasets-{os.getuid()}").mkdir(mode=0o755)
    with pytest.raises(DatasetUnavailable, match="not this user's private directory"):
        open_dataset(source, {})


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
        outputs = [process.communicate(timeout=PATIENCE_SECONDS)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert outputs == ["300\n"] * 3
    assert len(server.requests) == 3  # inputs, targets, weights


def test_a_killed_fetcher_blocks_no_other(server: FileServer, source: DatasetSource) -> None:
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


def test_the_least_recently_used_that_no_process_holds_is_evicted_first(
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
            theirs = entry(sources[0]).parent / "no-dataset" / "content"
            theirs.mkdir(parents=True)
            (theirs / "photo").write_bytes(b"once")
            for number in (1, 2, 1, 3):  # 2 has waited longest when the cache is full
                open_dataset(sources[number], {})
            assert here() == [True, True, False, True, False]
            small = replace(sources[4], cache_bytes=sum(sources[4].files.values()))
            message = open_in_vain(small)
            assert "the cache" in message
            assert here() == [True, False, False, False, False]
        finally:
            holder.kill()
    open_dataset(small, {})
    assert here() == [False, False, False, False, True]
    assert (theirs / "photo").exists()
