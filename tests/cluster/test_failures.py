"""What may go wrong on real hosts: the job goes on by itself, and ends with the same bits."""

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
SOME = range(2, 20)
"""Attempts of a job whose cluster comes back, sooner or later."""

HEAD_AWAY = "Failed to connect to GCS within"
OTHER_HEAD = "WrongClusterID"
"""Why Ray ends an engine: nobody answers in the head's place, or somebody else does."""


def assert_one_lost(job: Running, host: Host, *reasons: str) -> None:
    """One worker of the host was lost, for one of the reasons, and that was told and counted."""
    losses = job.losses()
    assert len(losses) == 1, losses
    [lost] = losses
    assert lost["host"] == host.name
    assert lost["reason"] in reasons
    assert lost["detail"]
    assert job.counted(LOST) == 1
    assert job.counted(RETRIED) == job.again()  # 0 if it had nothing to do just then


@contextmanager
def mended(cluster: Cluster, *hosts: Host) -> Iterator[None]:
    """Ray is started afresh on these hosts afterwards, for the next test."""
    try:
        yield
    finally:
        cluster.restart(*hosts)


def test_worker_that_died_is_replaced(cluster: Cluster) -> None:
    host = cluster.hosts[1]
    with running(cluster, epochs=600) as job:
        host.send(signal.SIGKILL, [job.worker_on(host)])
        until(lambda: len(job.events("worker_joined")) == 4, 30, "nobody came in its place")
        job.ends_well()


@pytest.mark.parametrize(
    ("sent", "reason"), [(signal.SIGKILL, "died"), (signal.SIGSTOP, "silent")], ids=str
)
def test_worker_on_another_host_killed_or_stopped(
    cluster: Cluster, sent: signal.Signals, reason: str
) -> None:
    host = cluster.hosts[1]
    with running(cluster) as job:
        host.send(sent, [job.worker_on(host)])
        job.ends_well()
        assert_one_lost(job, host, reason)
        assert job.again() or sent == signal.SIGKILL


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSTOP], ids=str)
def test_raylet_killed_or_stopped(cluster: Cluster, sent: signal.Signals) -> None:
    host = cluster.hosts[1]
    with mended(cluster, host), running(cluster) as job:
        host.send(sent, host.processes(RAYLET))
        job.goes_on()
        cluster.leave(host)
        job.ends_well()
        assert_one_lost(job, host, "died", "silent")


def test_node_that_died_is_used_again_when_it_is_back(cluster: Cluster) -> None:
    host = cluster.hosts[2]
    with running(cluster) as job:
        cluster.restart(host)
        job.ends_well()
        assert_one_lost(job, host, "died", "silent")
        assert [each["host"] for each in job.events("worker_joined")].count(host.name) == 2


def test_link_cut(cluster: Cluster) -> None:
    host = cluster.hosts[2]
    with mended(cluster, host), running(cluster) as job:
        with host.unplugged():
            job.goes_on()
            cluster.leave(host)
        job.ends_well()
        assert_one_lost(job, host, "died", "silent")


def test_partition_that_heals_before_anybody_gives_up(cluster: Cluster) -> None:
    host = cluster.hosts[2]
    with running(cluster) as job:
        with host.unplugged():
            time.sleep(0.5)
        job.ends_well()
        assert not job.events("worker_lost")


def test_partition_that_heals_late(cluster: Cluster) -> None:
    """Its node counts as dead by then: Ray ends it when it hears so, with our worker."""
    host = cluster.hosts[2]
    with mended(cluster, host), running(cluster) as job:
        with host.unplugged():
            until(lambda: job.events("worker_lost"), 30, "nobody misses it")
            time.sleep(6)
        job.ends_well()
        assert_one_lost(job, host, "died", "silent")


def test_engine_killed(cluster: Cluster) -> None:
    with running(cluster) as job:
        cluster.head.send(signal.SIGKILL, [job.engine()])
        job.ends_well(attempts=(2,))
        assert [each["detail"] for each in job.recovering()] == ["The engine was ended by SIGKILL."]


def test_gcs_killed_and_the_cluster_started_afresh(cluster: Cluster) -> None:
    """Ray ends the engine when the head stays away; the next one waits until it is back."""
    with mended(cluster, *cluster.hosts), running(cluster, epochs=900) as job:  # outlasts a head
        cluster.head.send(signal.SIGKILL, cluster.head.processes(GCS))
        until(job.recovering, HEAD_AWAY_SECONDS + 30, "the engine does not notice")
        cluster.restart(*cluster.hosts)
        job.ends_well(attempts=SOME)
        assert {each["reason"] for each in job.recovering()} == {"cluster_lost"}
        assert HEAD_AWAY in job.log()


def test_gcs_killed_and_the_cluster_is_back_before_anybody_noticed(cluster: Cluster) -> None:
    """Ray ends the engine, for it is of the old cluster; the next one is of the new one."""
    with mended(cluster, *cluster.hosts), running(cluster, epochs=900) as job:  # outlasts a head
        cluster.head.send(signal.SIGKILL, cluster.head.processes(GCS))
        cluster.restart(cluster.head)
        cluster.restart(*cluster.hosts[1:])
        job.ends_well(attempts=SOME)
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


def test_full_shared_memory(cluster: Cluster) -> None:
    """Ray's object store grows into pages that are not there: SIGBUS ends the raylet."""
    host = cluster.hosts[1]
    with mended(cluster, host), running(cluster, **WIDE) as job:
        with full_shared_memory(host):
            job.goes_on()
            time.sleep(3)
        job.ends_well()
        assert {lost["host"] for lost in job.losses()} == {host.name}


def spilled(host: Host) -> list[str]:
    """What Ray has put on a host's disk, because its object store was full."""
    return host.run("find", RAY_FOLDER, "-path", "*/ray_spilled_objects*", "-type", "f").split()


FILL = """
import ray, numpy, time
ray.init(address="auto", log_to_driver=False)
kept = [ray.put(numpy.ones(2**20, "u1")) for _ in range(300)]
print("ready", flush=True)
time.sleep(60)
"""


def test_full_object_store(cluster: Cluster) -> None:
    """Somebody else's objects fill the head's: Ray puts them on disk, the job goes on."""
    with running(cluster, **WIDE) as job, cluster.driver(FILL):
        assert spilled(cluster.head)
        job.ends_well()
        assert not job.events("worker_lost")


def test_slow_node(cluster: Cluster) -> None:
    """Its worker runs for a fifth of the time: others compute what it holds as well."""
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
            job.ends_well()
        finally:
            over.set()
            thread.join()
        assert {retry["reason"] for retry in job.events("retry")} == {"slow"}
        assert not job.events("worker_lost")
