"""Hostile archives of datasets, and archives that do not fit on the disk."""

import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from batchgrad_service.datasets.npz import unpack
from batchgrad_service.datasets.validation import inspect
from batchgrad_service.problems import InvalidError, TooLargeError
from tests.service.conftest import Bench, bench, make_bench, store  # noqa: F401 (fixtures)
from tests.service.npz_mutations import mutations

MUTATIONS = 20_000
UPLOADS = 1_500

UNPACK = """
import errno, sys
from pathlib import Path
from batchgrad_service.datasets.npz import unpack
try:
    unpack(Path(sys.argv[1]), Path(sys.argv[2]), max_bytes=2**30)
except OSError as error:
    print(errno.errorcode[error.errno])
"""


@pytest.mark.filterwarnings("ignore")  # as in the service, where numpy's warnings end nothing
def test_every_archive_is_read_or_refused(tmp_path: Path) -> None:
    archive, into = tmp_path / "a.npz", tmp_path / "arrays"
    refused = 0
    for content in mutations(MUTATIONS, seed=20_261_128):
        archive.write_bytes(content)
        into.mkdir()
        try:
            unpack(archive, into, max_bytes=1_000_000)
            inspect(into)
        except (InvalidError, TooLargeError) as problem:
            problem.detail.encode()  # it travels as UTF-8
            refused += 1
        shutil.rmtree(into)
    assert MUTATIONS // 2 < refused < MUTATIONS


def test_a_full_disk_raises_an_error_and_kills_no_process(
    disk: Callable[[int], Path], tmp_path: Path
) -> None:
    archive = tmp_path / "columns.npz"
    inputs = np.asfortranarray(np.ones((1000, 500)))  # 4 MB, and as much again in C order
    with archive.open("wb") as file:
        np.savez(file, inputs=inputs, targets=np.zeros(1000))
    command = [sys.executable, "-c", UNPACK, str(archive), str(disk(6_000_000))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != -signal.SIGBUS
    assert (done.stdout, done.returncode) == ("ENOSPC\n", 0), done.stderr


@pytest.mark.filterwarnings("ignore")
def test_no_upload_breaks_the_service(bench: Bench) -> None:  # noqa: F811 (the fixture)
    seen = Counter(
        bench.http.put("/v1/datasets/d?replace=true", content=content).status_code
        for content in mutations(UPLOADS, seed=1)
    )
    assert seen.keys() <= {200, 201, 413, 422}, seen
    assert seen[422] > UPLOADS // 2
