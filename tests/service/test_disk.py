"""A disk without room: what is refused, what is said, and when it is over."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchgrad_service.disk_room import DiskRoom
from batchgrad_service.settings import Settings
from batchgrad_workers.system.disk import lacks_room
from tests.service.building import body, npz, problem, push
from tests.service.conftest import Bench

MARK = 64 * 2**20


class Disk:
    """A disk of which the test says what is free."""

    def __init__(self) -> None:
        self.free = 2 * MARK

    def room(self, mark: int = MARK) -> DiskRoom:
        return DiskRoom([Path("/data")], mark, lambda _: self.free)


def test_low_lasts_until_there_is_a_quarter_more() -> None:
    disk = Disk()
    room = disk.room()
    assert room.shortage() == ""
    disk.free = MARK - 1
    assert "The disk of /data has less than 64 MiB free (min_free_disk_bytes)" in room.shortage()
    disk.free = MARK + MARK // 8
    assert room.shortage()
    disk.free = MARK + MARK // 4
    assert room.shortage() == ""
    assert "This takes 100 MiB" in room.shortage(100 * 2**20)
    assert room.shortage() == ""


def test_the_fullest_disk_counts(tmp_path: Path) -> None:
    other = tmp_path / "db"
    url = f"sqlite:///{other}/x.sqlite3"
    folders = Settings(data_dir=tmp_path / "data", database_url=url).folders
    assert folders == [tmp_path / "data", other]
    room = DiskRoom(folders, MARK, lambda folder: 0 if folder == other else MARK)
    assert str(other) in room.shortage()
    assert Settings(data_dir=tmp_path, database_url="postgresql://db/x").folders == [tmp_path]


def test_a_full_disk_is_said_everywhere_and_changes_nothing(
    make_bench: Callable[..., Bench],
) -> None:
    disk = Disk()
    bench = make_bench(disk=disk.room())
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
    disk.free = 2 * MARK
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


def test_what_lacks_room_is_known() -> None:
    assert lacks_room(OSError(errno.ENOSPC, "full"))
    assert lacks_room(OSError(errno.EDQUOT, "quota"))
    assert lacks_room(Exception("I/O error: No space left on device (os error 28) at path x"))
    assert not lacks_room(OSError(errno.EACCES, "no"))
    assert not lacks_room(Exception("(os error 281)"))
