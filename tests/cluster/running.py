"""A job on all hosts that something happens to, and how it must end nevertheless."""

import json
from collections.abc import Container, Iterator
from contextlib import contextmanager
from typing import Any

from batchgrad.contract import Job
from tests.cluster.cluster import Cluster, until
from tests.cluster.hosts import SHARED_MEMORY, Host
from tests.end_to_end.digits_job import Bits, bits, happened, trained_bits, under_way

JOB_SECONDS = 90.0
LONG = {"epochs": 300, "checkpoint_interval_seconds": 1.0}
"""1,800 steps: some 5 s where nothing goes wrong, so that the job is still there when it does."""

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
    """One job, past its first steps; `host_of` and `worker_on` know its workers."""

    def __init__(
        self, cluster: Cluster, job: Job, undisturbed: Bits, before: dict[str, float]
    ) -> None:
        self._cluster = cluster
        self._undisturbed = undisturbed
        self._before = before
        self.id = job.id
        self._folder = cluster.data_dir / "jobs" / job.id

    def events(self, kind: str) -> list[dict[str, Any]]:
        """What its events of one type say."""
        return [event.data for event in happened(self._cluster.client, self.id, kind)]

    def recovering(self) -> list[dict[str, Any]]:
        """Why it had to begin again from a checkpoint, each time."""
        return [state for state in self.events("state") if state["status"] == "recovering"]

    def log(self) -> str:
        """What its engines and Ray in them have said."""
        return (self._folder / "engine.log").read_text(errors="replace")

    def losses(self) -> list[dict[str, Any]]:
        """Its lost workers; not who was to come in their place.

        Such a one may be sent to the same node before Ray knows that it is dead.
        """
        return [lost for lost in self.events("worker_lost") if lost["reason"] != "start_failed"]

    def again(self) -> int:
        """Microbatches that were computed again."""
        return sum(retry["microbatches"] for retry in self.events("retry"))

    def worker_on(self, host: Host) -> int:
        """The number that the newest worker on a host has there."""
        joined = self.events("worker_joined")
        return [int(each["pid"]) for each in joined if each["host"] == host.name][-1]

    def engine(self) -> int:
        """The number of its engine on the head."""
        return int(json.loads((self._folder / "engine.lock").read_text())["pid"])

    def counted(self, name: str) -> float:
        """By how much a metric has grown since the job was submitted."""
        return self._cluster.metric(name) - self._before[name]

    def goes_on(self) -> None:
        """It does a step more."""
        client = self._cluster.client
        step = client.job(self.id).step
        until(lambda: client.job(self.id).step > step, JOB_SECONDS, "the job stands still")

    def ends_well(self, *, attempts: Container[int] = (1,)) -> None:
        """To the end, with the bits of a job that nothing happened to; nothing is left of it."""
        done = self._cluster.client.wait(self.id, timeout=JOB_SECONDS)
        assert bits(done) == self._undisturbed
        assert done.attempts in attempts
        until(lambda: not self._left(), 10, f"still there: {self._left()}")

    def _left(self) -> dict[str, Any]:
        """Its processes and what they keep in shared memory, by host."""
        hosts = self._cluster.hosts
        found = {host.name: host.processes("ray::GradientWorker") for host in hosts}
        found["engine"] = self._cluster.head.processes("batchgrad_engine")
        shared = {f"files of {host.name}": sorted(host.files(SHARED_MEMORY)) for host in hosts}
        return {where: what for where, what in (found | shared).items() if what}


@contextmanager
def running(cluster: Cluster, **changes: Any) -> Iterator[Running]:
    """A job on three hosts, two threads each, after its first steps."""
    changes = LONG | changes
    alone = json.dumps({**changes, "workers": 0, "threads": 1})
    if alone not in cluster.digests:
        cluster.digests[alone] = trained_bits(cluster.client, **json.loads(alone))
    before = {name: cluster.metric(name) for name in (LOST, RETRIED)}
    with under_way(cluster.client, 20, **({"workers": 3, "threads": 2} | changes)) as job:
        yield Running(cluster, job, cluster.digests[alone], before)
