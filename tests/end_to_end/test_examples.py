"""The example ledger and replays are the same on any worker and after a crash."""

from pathlib import Path

import pytest

from batchgrad.client import Client
from tests.end_to_end.digits_job import bits, kill_engine, spec, under_way

pytestmark = pytest.mark.ray

LONG = {"epochs": 200}


def test_ledger_and_replays_do_not_change_when_the_engine_is_killed(
    client: Client, data_folder: Path
) -> None:
    whole = client.wait(client.submit(spec(workers=0, threads=1, **LONG)).id, timeout=60)
    with under_way(client, 30, workers=2, checkpoint_interval_seconds=0.05, **LONG) as job:
        during = client.examples(job.id, limit=3)
        assert during.step >= 30
        assert all(entry.times_seen > 0 for entry in during.data)
        assert client.examples(job.id, limit=3).step > during.step  # not only checkpoints'
        kill_engine(data_folder, job.id)
        done = client.wait(job.id, timeout=60)
    assert done.attempts == 2
    assert bits(done) == bits(whole)  # the best parameters and the last
    ledgers = [client.examples(id_, limit=None, order="example") for id_ in (whole.id, done.id)]
    assert ledgers[0] == ledgers[1]
    assert len(ledgers[0].data) == 1438
    assert {entry.times_seen for entry in ledgers[0].data} == {LONG["epochs"]}
    rows = [list(client.steps(id_)) for id_ in (whole.id, done.id)]
    for one, other in zip(*rows, strict=True):
        assert one.gradient_checksum == other.gradient_checksum
        assert (one.noise_scale, one.norm_test) == (other.noise_scale, other.norm_test)
        assert one.norms == other.norms
    for step in (1, 200, 360):  # computed on two workers, replayed by one process
        assert client.step_examples(done.id, step, limit=3).verified
