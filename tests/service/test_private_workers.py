"""The limit on workers of the private cluster."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchgrad_service.problems import InvalidError
from batchgrad_service.validation.private_workers import check_private_gpus, check_private_workers
from tests.service.building import problem, push, spec
from tests.service.conftest import Bench

GIB = 2**30
SMALL = {"cpus": 2, "memory_bytes": 8 * GIB}


@pytest.mark.parametrize("workers", [0, 1, 8, "auto", {"min": 8, "max": 4096}])
def test_as_many_workers_as_the_machine_holds_are_accepted(workers: Any) -> None:
    check_private_workers(spec(workers=workers), 0, **SMALL)


@pytest.mark.parametrize(
    ("workers", "step_bytes", "machine", "most"),
    [
        (48, 0, SMALL, 8),
        (9, 0, SMALL, 8),
        ({"min": 9, "max": 9}, 0, SMALL, 8),
        (5, 768 * 2**20, SMALL, 4),
        (9, 0, {"cpus": 64, "memory_bytes": 4 * GIB}, 8),
        (2, 100 * GIB, SMALL, 1),
        (257, 0, {"cpus": 64, "memory_bytes": 512 * GIB}, 256),
    ],
)
def test_more_workers_are_refused_with_the_limit(
    workers: Any, step_bytes: int, machine: dict[str, int], most: int
) -> None:
    with pytest.raises(InvalidError, match=rf"holds at most {most} \(4 per CPU") as refused:
        check_private_workers(spec(workers=workers), step_bytes, **machine)
    assert refused.value.errors[0].pointer in {"/workers", "/workers/min"}
    assert "--ray-address" in refused.value.detail


def test_gpus_are_refused_where_there_is_none(tmp_path: Path) -> None:
    wanted = spec(model={"torch": "mine:build"}, loss=None, num_gpus=1, workers=1)
    (tmp_path / "nvidiactl").touch()
    with pytest.raises(InvalidError, match="this machine, which has no GPU: remove") as refused:
        check_private_gpus(wanted, tmp_path)
    assert refused.value.errors[0].pointer == "/num_gpus"
    check_private_gpus(spec(), tmp_path)
    (tmp_path / "nvidia0").touch()
    check_private_gpus(wanted, tmp_path)


def test_a_plan_and_a_submission_refuse_too_many_workers(make_bench: Callable[..., Bench]) -> None:
    http = make_bench().http
    push(http)
    body = spec(workers=4096).model_dump(mode="json", exclude_none=True)
    for path in ("/v1/plans", "/v1/jobs"):
        found = problem(http.post(path, json=body), 422)
        assert found["code"] == "too_many_workers"
    named = make_bench(ray_address="head:6379").http
    assert named.post("/v1/plans", json=body).status_code == 200
