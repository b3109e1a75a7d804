"""A running job's example ledger, requested from its engine."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.supervisor.conftest import Bench


def test_engine_writes_the_ledger_and_continues(bench: Bench) -> None:
    supervisor = bench.supervisor()
    job_id = bench.submit(hold_at=2)
    bench.until_step(job_id, 2)
    path = bench.folder(job_id) / "ledger.safetensors"
    for _ in range(2):
        assert supervisor.ledger(job_id, 20.0) == path
        assert path.read_text() == "the ledger"
        path.unlink()
    assert bench.status(job_id) == "running"
    supervisor.pause(job_id)
    bench.until_status(job_id, "paused")
    bench.until(lambda: not supervisor._attempts)
    assert supervisor.ledger(job_id, 20.0) is None


def test_engine_that_does_not_answer_is_not_waited_for_long(bench: Bench) -> None:
    supervisor = bench.supervisor()
    job_id = bench.submit(no_ledger=1, hold_at=1)
    bench.until_step(job_id, 1)
    assert supervisor.ledger(job_id, 0.2) is None
    begun = monotonic()
    assert supervisor.ledger(job_id, 30.0) is None  # the others wait no longer than the first
    assert monotonic() - begun < 20
    assert supervisor.ledger("job_unknown", 0.2) is None


def test_engine_that_dies_is_not_waited_for(bench: Bench) -> None:
    supervisor = bench.supervisor()
    job_id = bench.submit(no_ledger=1, hold_at=1, max_restarts=0)
    bench.until_step(job_id, 1)
    attempt = supervisor._attempts[job_id]
    attempt.kill()
    assert attempt.ledger(60.0) is None
