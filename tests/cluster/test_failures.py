"""Failures of hosts, links and processes: the job recovers and ends with the same bits."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.cluster.cluster import HEAD_AWAY_SECONDS, Cluster, until
from tests.cluster.hosts import RAY_FOLDER, SHARED_MEMORY, Host
from tests.cluster.running import LOST, RETRIED, WIDE, Running, running

RAYLET = "/raylet/raylet "
GCS = "/gcs/gcs_server "
SEVERAL = range(2, 20)
"""Possible numbers of attempts of a job that waits for its cluster to come back."""

HEAD_AWAY = "Failed to connect to GCS within"
OTHER_HEAD = "WrongClusterID"
"""Messages with which Ray ends an engine: the head does not answer, or another head does."""


def assert_one_lost(job: Running, host: Host, *reasons: str) -> None:
    """Assert that one worker of the host was lost for one of `reasons`, in events and metrics."""
    losses = job.losses()
    assert len(losses) == 1, losses
    [lost] = losses
    assert lost["host"] == host.name
    assert lost["reason"] in reasons
    assert lost["detail"]
    assert job.counted(LOST) == 1
    assert job.counted(RETRIED) == job.microbatches_retried()  # 0 if it was idle


@contextmanager
def ray_restarted(cluster: Cluster, *hosts: Host) -> Iterator[None]:
    """Restart Ray on these hosts after the block, for the next test."""
    try:
        yield
    finally:
        cluster.restart(*hosts)
        cluster.settle()


def test_a_worker_that_dies_is_replaced(cluster: Cluster) -> None:
    host = cluster.hosts[1]
    with running(cluster, epochs=600) as job:
        host.send(signal.SIGKILL, [job.worker_on(host)])
        until(lambda: len(job.events("worker_joined")) == 4, 30, "no replacement joined")
        job.assert_same_bits()


@pytest.mark.parametrize(
    ("sent", "reason"), [(signal.SIGKILL, "died"), (signal.SIGSTOP, "silent")], ids=str
)
def test_a_killed_or_stopped_worker_is_lost_and_its_microbatches_are_retried(
    cluster: Cluster, sent: signal.Signals, reason: str
) -> None:
    host = cluster.hosts[1]
    with running(cluster) as job:
        host.send(sent, [job.worker_on(host)])
        job.assert_same_bits()
        assert_one_lost(job, host, reason)
        assert job.microbatches_retried() or sent == signal.SIGKILL


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSTOP], ids=str)
def test_a_killed_or_stopped_raylet_loses_one_worker(
    cluster: Cluster, sent: signal.Signals
) -> None:
    host = cluster.hosts[1]
    with ray_restarted(cluster, host), running(cluster) as job:
        host.send(sent, host.processes(RAYLET))
        job.assert_progress()
        cluster.leave(host)
        job.assert_same_bits()
        assert_one_lost(job, host, "died", "silent", "stuck")


def test_a_restarted_node_gets_a_worker_again(cluster: Cluster) -> None:
    host = cluster.hosts[2]
    with running(cluster, epochs=900) as job:  # still there when the node is back
        cluster.restart(host)
        job.assert_same_bits()
        assert_one_lost(job, host, "died", "silent")
        assert [each["host"] for each in job.events("worker_joined")].count(host.name) == 2


def test_the_job_survives_a_cut_link(cluster: Cluster) -> None:
    host = cluster.hosts[2]
    with ray_restarted(cluster, host), running(cluster) as job:
        with host.unplugged():
            job.assert_progress()
            cluster.leave(host)
        job.assert_same_bits()
        assert_one_lost(job, host, "died", "silent")


def test_a_short_partition_loses_no_worker(cluster: Cluster) -> None:
    host = cluster.hosts[2]
    with running(cluster) as job:
        with host.unplugged():
            time.sleep(0.5)
        job.assert_same_bits()
        assert not job.events("worker_lost")


def test_the_job_survives_a_partition_that_outlasts_the_node(cluster: Cluster) -> None:
    """Ray has declared the node dead by then; on reconnection the node and its worker end."""
    host = cluster.hosts[2]
    with ray_restarted(cluster, host), running(cluster) as job:
        with host.unplugged():
            until(lambda: job.events("worker_lost"), 30, "the loss is not noticed")
            time.sleep(6)
        job.assert_same_bits()
        assert_one_lost(job, host, "died", "silent")


def test_a_killed_engine_is_restarted(cluster: Cluster) -> None:
    with running(cluster) as job:
        cluster.head.send(signal.SIGKILL, [job.engine()])
        job.assert_same_bits(attempts=(2,))
        assert [each["detail"] for each in job.recovering()] == ["The engine was ended by SIGKILL."]


def test_the_job_survives_a_head_that_stays_away(cluster: Cluster) -> None:
    """Ray ends the engine when the head stays away; the next engine waits for the cluster."""
    with (
        ray_restarted(cluster, *cluster.hosts),
        running(cluster, epochs=900) as job,
    ):  # outlasts a head
        cluster.head.send(signal.SIGKILL, cluster.head.processes(GCS))
        until(job.recovering, HEAD_AWAY_SECONDS + 30, "the engine does not notice")
        cluster.restart(*cluster.hosts)
        job.assert_same_bits(attempts=SEVERAL)
        assert {each["reason"] for each in job.recovering()} == {"cluster_lost"}
        assert HEAD_AWAY in job.log()


def test_the_job_survives_a_quickly_replaced_cluster(cluster: Cluster) -> None:
    """Ray ends the engine of the old cluster; the next engine joins the new cluster."""
    with (
        ray_restarted(cluster, *cluster.hosts),
        running(cluster, epochs=900) as job,
    ):  # outlasts a head
        cluster.head.send(signal.SIGKILL, cluster.head.processes(GCS))
        cluster.restart(cluster.head)
        cluster.restart(*cluster.hosts[1:])
        job.assert_same_bits(attempts=SEVERAL)
        assert {each["reason"] for each in job.recovering()} == {"cluster_lost"}
        assert OTHER_HEAD in job.log()
        assert HEAD_AWAY not in job.log()


@contextmanager
def full_shared_memory(host: Host) -> Iterator[None]:
    with pytest.raises(RuntimeError, match="No space left"):
        host.run("dd", "if=/dev/zero", f"of={SHARED_MEMORY}/full", "bs=4k")
    try:
        yield
    finally:
        host.run("rm", "-f", f"{SHARED_MEMORY}/full")


def test_the_job_survives_full_shared_memory(cluster: Cluster) -> None:
    """Ray's object store grows into pages that do not exist: SIGBUS ends the raylet."""
    host = cluster.hosts[1]
    with ray_restarted(cluster, host), running(cluster, **WIDE) as job:
        with full_shared_memory(host):
            job.assert_progress()
            time.sleep(3)
        job.assert_same_bits()
        assert {lost["host"] for lost in job.losses()} == {host.name}


def spilled(host: Host) -> list[str]:
    """Files of objects that Ray has moved to a host's disk because its object store was full."""
    return host.run("find", RAY_FOLDER, "-path", "*/ray_spilled_objects*", "-type", "f").split()


FILL = """
import ray, numpy, time
ray.init(address="auto", log_to_driver=False)
kept = [ray.put(numpy.ones(2**20, "u1")) for _ in range(300)]
print("ready", flush=True)
time.sleep(60)
"""


def test_a_full_object_store_loses_no_worker(cluster: Cluster) -> None:
    """Another driver's objects fill the head's object store: Ray spills them, the job continues."""
    with running(cluster, **WIDE) as job, cluster.driver(FILL):
        assert spilled(cluster.head)
        job.assert_same_bits()
        assert not job.events("worker_lost")


def test_other_workers_compute_the_ranges_of_a_slow_worker(cluster: Cluster) -> None:
    """The worker runs for a fifth of the time; other workers compute its ranges as well."""
    host = cluster.hosts[1]
    over = threading.Event()

    def slow_down(pid: int) -> None:
        with suppress(RuntimeError):  # its worker ends with the job
            while not over.is_set():
                host.send(signal.SIGSTOP, [pid])
                over.wait(0.4)
                host.send(signal.SIGCONT, [pid])
                over.wait(0.1)

    with running(cluster, epochs=60) as job:
        thread = threading.Thread(target=slow_down, args=(job.worker_on(host),))
        thread.start()
        try:
            job.assert_same_bits()
        finally:
            over.set()
            thread.join()
        assert {retry["reason"] for retry in job.events("retry")} == {"slow"}
        assert not job.events("worker_lost")
