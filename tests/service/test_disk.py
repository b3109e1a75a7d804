"""A full disk: what is refused, what the messages say, and when work continues."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchgrad_service.disk_space import DiskSpace
from batchgrad_service.settings import Settings
from batchgrad_workers.system.disk import is_disk_full
from tests.service.building import body, npz, problem, push
from tests.service.conftest import Bench

MIN_FREE = 64 * 2**20


class Disk:
    """A disk with as much free space as the test sets."""

    def __init__(self) -> None:
        self.free = 2 * MIN_FREE

    def space(self, min_free: int = MIN_FREE) -> DiskSpace:
        return DiskSpace([Path("/data")], min_free, lambda _: self.free)


def test_a_full_disk_counts_as_full_until_a_quarter_more_is_free() -> None:
    disk = Disk()
    space = disk.space()
    assert space.shortage() == ""
    disk.free = MIN_FREE - 1
    assert "less than 64 MiB was free (min_free_disk_bytes)" in space.shortage()
    disk.free = MIN_FREE + MIN_FREE // 8
    assert space.shortage()
    disk.free = MIN_FREE + MIN_FREE // 4
    assert space.shortage() == ""
    assert "This request needs 100 MiB" in space.shortage(100 * 2**20)
    assert space.shortage() == ""


def test_the_fullest_disk_decides(tmp_path: Path) -> None:
    other = tmp_path / "db"
    url = f"sqlite:///{other}/x.sqlite3"
    folders = Settings(data_dir=tmp_path / "data", database_url=url).folders
    assert folders == [tmp_path / "data", other]
    space = DiskSpace(folders, MIN_FREE, lambda folder: 0 if folder == other else MIN_FREE)
    assert str(other) in space.shortage()
    assert Settings(data_dir=tmp_path, database_url="postgresql://db/x").folders == [tmp_path]


def test_a_full_disk_is_reported_everywhere_and_changes_nothing(
    make_bench: Callable[..., Bench],
) -> None:
    disk = Disk()
    bench = make_bench(disk=disk.space())
    push(bench.http)
    disk.free = 0
    content = npz(inputs=[[1.0]], targets=[0])
    for refused in (
        bench.http.post("/v1/jobs", json=body()),
        bench.http.put("/v1/datasets/other", content=content),
    ):
        found = problem(refused, 507)
        assert found["code"] == "disk_full"
        assert "batchgrad gc" in found["detail"]
    assert bench.http.post("/v1/plans", json=body()).status_code == 200
    found = problem(bench.http.get("/readyz"), 503)
    assert "min_free_disk_bytes" in found["detail"]
    assert "min_free_disk_bytes" in bench.http.get("/").text
    disk.free = 2 * MIN_FREE
    assert bench.http.get("/readyz").status_code == 200
    assert "min_free_disk_bytes" not in bench.http.get("/").text
    assert bench.http.put("/v1/datasets/other", content=content).status_code == 201
    assert bench.http.get("/v1/jobs").json()["data"] == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_under_a_request_is_507(bench: Bench, code: int) -> None:
    def write(*_: Any, **__: Any) -> None:
        raise OSError(code, "no room")

    bench.app.state.services.datasets.put = write
    answer = bench.http.put("/v1/datasets/d", content=npz(inputs=[[1.0]], targets=[0]))
    assert problem(answer, 507)["code"] == "disk_full"
    assert list((bench.data_dir / "uploads").iterdir()) == []


def test_errors_of_a_full_disk_are_recognised() -> None:
    assert is_disk_full(OSError(errno.ENOSPC, "full"))
    assert is_disk_full(OSError(errno.EDQUOT, "quota"))
    assert is_disk_full(Exception("I/O error: No space left on device (os error 28) at path x"))
    assert not is_disk_full(OSError(errno.EACCES, "no"))
    assert not is_disk_full(Exception("(os error 281)"))
