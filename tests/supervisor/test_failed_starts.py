"""Attempts without a cluster, or on an exhausted machine: the job waits, or fails with a reason."""

from __future__ import annotations

import errno
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from batchgrad_engine.messages import CLUSTER_LOST
from batchgrad_service.jobs.engine_process import EngineProcess

if TYPE_CHECKING:
    from tests.supervisor.conftest import Bench

from tests.supervisor.conftest import fast_backoff


@pytest.mark.parametrize(
    ("printed", "code"),
    [
        ("no Ray", CLUSTER_LOST),
        ("Failed to connect to GCS within 5 seconds.", 1),
        ("ray/_raylet.so(+0x114) [0x7f48] EventTracker::RecordExecution()", 1),
    ],
)
def test_a_lost_cluster_is_the_reason(bench: Bench, printed: str, code: int) -> None:
    bench.engine_command = (
        *(sys.executable, "-c"),
        f"import sys; input(); sys.stderr.write('{printed}'); sys.exit({code})",
    )
    bench.supervisor()
    job_id = bench.submit(max_restarts=1)
    bench.until_status(job_id, "failed")
    assert bench.path(job_id) == [
        *("queued", "starting", "recovering", "starting", "failed"),
    ]
    for state in (bench.states(job_id)[2], bench.states(job_id)[4]):
        assert state.data["reason"] == "cluster_lost"
        assert state.data["detail"].startswith("The Ray cluster has ended, or")
        assert state.data["log"] == [printed]


def test_a_named_cluster_out_of_reach_is_waited_for_and_costs_no_restart(
    bench: Bench,
) -> None:
    word = {"type": "finished", "outcome": "interrupted", "detail": "no answer.", "step": 0}
    program = f"import sys; input(); print({json.dumps(word)!r}); sys.exit({CLUSTER_LOST})"
    bench.engine_command = (sys.executable, "-c", program)
    supervisor = bench.supervisor(ray_address="head:6379")
    job_id = bench.submit(workers=1, max_restarts=0)

    def tried_again() -> bool:
        supervisor.notify()  # as whatever else happens in a service
        return bench.store.job(job_id).attempts > 1

    bench.until(tried_again)
    bench.until(lambda: bench.path(job_id).count("recovering") > 1)
    lost, lost_again = [s for s in bench.states(job_id) if s.data["status"] == "recovering"][:2]
    assert (lost.data["reason"], lost_again.data["reason"]) == ("cluster_lost", "cluster_lost")
    assert (lost.data["again_seconds"], lost_again.data["again_seconds"]) == (1, 2)
    assert lost.data["detail"] == (
        "The Ray cluster is lost: no answer. The job tries again in 1 s, until it is back."
    )
    first, second = [s for s in bench.states(job_id) if s.data["status"] == "starting"][:2]
    assert (second.time - first.time).total_seconds() >= 1
    supervisor.cancel(job_id)
    bench.until_status(job_id, "cancelled")


@pytest.mark.parametrize(
    ("error", "missing"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "open files (ulimit -n)"),
        (OSError(errno.EAGAIN, "Resource temporarily unavailable"), "processes or threads"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "memory"),
        (RuntimeError("can't start new thread"), "processes or threads"),
        (MemoryError(), "memory"),
    ],
)
def test_an_exhausted_machine_costs_no_restart(
    bench: Bench, error: Exception, missing: str
) -> None:
    failures = iter([error] * 4)

    def start_engine(*arguments: Any, **named: Any) -> EngineProcess:
        for failure in failures:
            raise failure
        return EngineProcess(*arguments, **named)

    bench.supervisor(backoff=fast_backoff(), start_engine=start_engine)
    job_id = bench.submit(max_restarts=0)
    bench.until_tried(job_id, "succeeded", "failed")
    assert bench.status(job_id) == "succeeded"
    waited = [s.data for s in bench.states(job_id) if s.data["status"] == "recovering"]
    assert [data["again_seconds"] for data in waited] == [1, 2, 4, 8]
    assert {data["reason"] for data in waited} == {"machine_exhausted"}
    assert f"The machine has no {missing}" in waited[0]["detail"]


def test_other_failures_to_start_are_internal_errors(bench: Bench) -> None:
    bench.engine_command = ("/nowhere/python",)
    bench.supervisor()
    job_id = bench.submit(max_restarts=0)
    bench.until_status(job_id, "failed")
    assert bench.store.job(job_id).reason == "internal_error"


def test_a_cluster_that_does_not_start_fails_the_job_with_the_reason(bench: Bench) -> None:
    bench.cluster.broken = True
    bench.supervisor()
    job_id = bench.submit(workers=2, max_restarts=1)
    bench.until_status(job_id, "failed")
    assert bench.store.job(job_id).reason == "cluster_unavailable"
    assert bench.states(job_id)[-1].data["detail"] == "no room for Ray"
    assert bench.cluster.requested == [2, 2]
