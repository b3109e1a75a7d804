"""Engines that are stopped (SIGSTOP) delay no other job, and are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING

from batchgrad_engine.messages import Command, Start
from batchgrad_service.jobs.engine_process import EngineProcess
from batchgrad_service.jobs.recovery import _is_held, await_engines
from batchgrad_workers.data.source import DatasetSource
from tests.service.building import spec

if TYPE_CHECKING:
    from pathlib import Path

    from tests.supervisor.conftest import Bench

PIPES_WORTH = 2**16 // 20 + 1  # of commands, each longer than 20 bytes


def stopped(bench: Bench, **labels: int) -> str:
    """A job whose engine is stopped, with more in its pipe than that holds."""
    job_id = bench.submit(hold_at=1, **labels)
    bench.until_step(job_id, 1)
    os.kill(bench.engine(job_id), signal.SIGSTOP)
    engine = bench.supervisors[-1]._attempts[job_id]._engine
    assert engine is not None
    for _ in range(PIPES_WORTH):
        engine.send(Command(command="ledger"))
    return job_id


def test_a_stopped_engine_delays_no_other_and_a_cancel_ends_it(bench: Bench) -> None:
    supervisor = bench.supervisor(grace=1.0)
    job_id = stopped(bench)
    assert supervisor.cancel(job_id).status == "cancelling"
    assert supervisor.ledger(job_id, 0.0) is None
    bench.until_status(bench.submit(), "succeeded")
    bench.until_status(job_id, "cancelled")


def test_a_stopped_engine_is_killed_and_its_job_continues(bench: Bench) -> None:
    bench.supervisor(grace=0.3)
    job_id = stopped(bench)
    bench.until_status(job_id, "succeeded")
    assert bench.store.job(job_id).attempts == 2
    assert "SIGKILL" in bench.states(job_id)[3].data["detail"]


def test_the_service_stops_despite_a_stopped_engine(bench: Bench) -> None:
    supervisor = bench.supervisor(grace=60.0)
    job_id = stopped(bench)
    stopping = threading.Thread(target=supervisor.stop, args=(0.3,), daemon=True)
    stopping.start()
    stopping.join(20.0)
    assert not stopping.is_alive()
    assert bench.status(job_id) == "recovering"


def test_many_ledger_requests_send_one_command_to_a_stopped_engine(bench: Bench) -> None:
    supervisor = bench.supervisor()
    job_id = bench.submit(hold_at=1, max_restarts=0)
    bench.until_step(job_id, 1)
    attempt = supervisor._attempts[job_id]
    engine = attempt._engine
    assert engine is not None
    os.kill(engine.pid, signal.SIGSTOP)
    for _ in range(PIPES_WORTH):
        assert supervisor.ledger(job_id, 0.0) is None
    bench.until(lambda: engine._unwritten.qsize() == 0)
    attempt.kill()
    bench.until_status(job_id, "failed")


def test_an_engine_that_continues_in_time_is_not_killed(tmp_path: Path) -> None:
    start = Start(
        job_id="job_1",
        attempt=1,
        request_id="",
        spec=spec(),
        dataset=DatasetSource(tmp_path),
        job_directory=tmp_path,
    )
    engine = EngineProcess(start, command=("sleep", "60"), stopped_seconds=2.0)
    try:
        for sent in (signal.SIGSTOP, signal.SIGCONT):
            os.kill(engine.pid, sent)
            time.sleep(0.1)
        time.sleep(2.1)
        assert engine._process.returncode is None
        assert engine._reaper.is_alive()
    finally:
        engine.kill()
        assert engine.wait().code == -signal.SIGKILL
        list(engine.messages())


def test_engines_of_an_earlier_service_share_one_grace_time(tmp_path: Path) -> None:
    locks = [tmp_path / str(number) for number in range(30)]
    holders = []
    for lock in locks:
        lock.touch()
        command = ("flock", str(lock), "sleep", "60")
        holders.append(subprocess.Popen(command, start_new_session=True))
        lock.write_text(json.dumps({"pgid": holders[-1].pid}))
    began = time.monotonic()
    try:
        while not all(map(_is_held, locks)):
            assert time.monotonic() - began < 20, "the locks are not taken"
        began = time.monotonic()
        assert await_engines(locks, 1.0, threading.Event()) == []
        assert 1.0 <= time.monotonic() - began < 20.0  # one after the other: 30
    finally:
        for holder in holders:
            holder.kill()
            holder.wait()
