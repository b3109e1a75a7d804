"""A running job on all hosts that a test disturbs, and checks of its end."""

import json
from collections.abc import Container, Iterator
from contextlib import contextmanager
from typing import Any

from batchgrad.contract import Job
from tests.cluster.cluster import Cluster, until
from tests.cluster.hosts import SHARED_MEMORY, Host
from tests.end_to_end.digits_job import Bits, bits, events_of, trained_bits, under_way

JOB_SECONDS = 90.0
LONG = {"epochs": 300, "checkpoint_interval_seconds": 1.0}
"""1,800 steps: about 5 s undisturbed, long enough to disturb the job before it ends."""

WIDE = {
    "model": {
        "layers": [
            {"kind": "linear", "out_features": 1024},
            {"kind": "relu"},
            {"kind": "linear", "out_features": 10},
        ]
    },
    "epochs": 60,
}
"""P = 76,810: θ and each sum are too long for a message and go through the object stores."""

LOST = "batchgrad_workers_lost_total"
RETRIED = "batchgrad_microbatch_retries_total"


class Running:
    """A job that has done its first steps."""

    def __init__(
        self, cluster: Cluster, job: Job, undisturbed: Bits, before: dict[str, float]
    ) -> None:
        self._cluster = cluster
        self._undisturbed = undisturbed
        self._before = before
        self.id = job.id
        self._folder = cluster.data_dir / "jobs" / job.id

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Data of its events of one type."""
        return [event.data for event in events_of(self._cluster.client, self.id, kind)]

    def recovering(self) -> list[dict[str, Any]]:
        """Data of its `recovering` states: one for each restart from a checkpoint."""
        return [state for state in self.events("state") if state["status"] == "recovering"]

    def log(self) -> str:
        """The log of its engines, with Ray's messages."""
        return (self._folder / "engine.log").read_text(errors="replace")

    def losses(self) -> list[dict[str, Any]]:
        """Events of its lost workers, without replacements that failed to start.

        Ray may place a replacement on the same node before it knows that the node is dead.
        """
        return [lost for lost in self.events("worker_lost") if lost["reason"] != "start_failed"]

    def microbatches_retried(self) -> int:
        """Number of microbatches that were computed again."""
        return sum(retry["microbatches"] for retry in self.events("retry"))

    def worker_on(self, host: Host) -> int:
        """Pid of the newest worker on a host, in the host's namespace."""
        joined = self.events("worker_joined")
        return [int(each["pid"]) for each in joined if each["host"] == host.name][-1]

    def engine(self) -> int:
        """Pid of its engine on the head."""
        return int(json.loads((self._folder / "engine.lock").read_text())["pid"])

    def counted(self, name: str) -> float:
        """Increase of a metric since the job was submitted."""
        return self._cluster.metric(name) - self._before[name]

    def assert_progress(self) -> None:
        """Assert that the job does another step."""
        client = self._cluster.client
        step = client.job(self.id).step
        until(lambda: client.job(self.id).step > step, JOB_SECONDS, "the job does no further step")

    def assert_same_bits(self, *, attempts: Container[int] = (1,)) -> None:
        """Assert that the job ends with the bits of an undisturbed job and leaves no process."""
        done = self._cluster.client.wait(self.id, timeout=JOB_SECONDS)
        assert bits(done) == self._undisturbed
        assert done.attempts in attempts
        until(lambda: not self._left(), 30, f"still there: {self._left()}")

    def _left(self) -> dict[str, Any]:
        """Its processes and their files in shared memory, by host."""
        hosts = self._cluster.hosts
        found = {host.name: host.processes("ray::GradientWorker") for host in hosts}
        found["engine"] = self._cluster.head.processes("batchgrad_engine")
        shared = {f"files of {host.name}": sorted(host.files(SHARED_MEMORY)) for host in hosts}
        return {where: what for where, what in (found | shared).items() if what}


@contextmanager
def running(cluster: Cluster, **changes: Any) -> Iterator[Running]:
    """Run a job on three hosts with two threads each; enter the block after its first steps."""
    changes = LONG | changes
    alone = json.dumps({**changes, "workers": 0, "threads": 1})
    if alone not in cluster.digests:
        cluster.digests[alone] = trained_bits(cluster.client, **json.loads(alone))
    before = {name: cluster.metric(name) for name in (LOST, RETRIED)}
    with under_way(cluster.client, 20, **({"workers": 3, "threads": 2} | changes)) as job:
        yield Running(cluster, job, cluster.digests[alone], before)
