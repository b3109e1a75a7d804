"""Jobs that follow a cluster while they run: nodes join, nodes are drained."""

from typing import Any

from tests.cluster.cluster import RAY_PORT, Cluster, until
from tests.cluster.hosts import Host
from tests.cluster.running import LOST, running


def drain(cluster: Cluster, host: Host) -> None:
    """Drain a node, as an autoscaler does before it removes it."""
    [node] = [node for node, address in cluster.nodes().items() if address == host.address]
    cluster.head.run(
        *cluster.ray("drain-node", f"--address={cluster.head.address}:{RAY_PORT}"),
        *("--node-id", node, "--reason", "DRAIN_NODE_REASON_PREEMPTION"),
        *("--reason-message", "a test", "--deadline-remaining-seconds", "20"),
    )


def hosts_of(events: list[dict[str, Any]]) -> list[str]:
    return [each["host"] for each in events]


def test_workers_follow_nodes_that_join_and_drain(cluster: Cluster) -> None:
    host = cluster.hosts[2]
    try:
        cluster.leave(host)
        until(lambda: len(cluster.nodes()) == 2, 30, "a dead node is still counted")
        with running(cluster, epochs=900, workers={"min": 1, "max": 8}, threads="auto") as job:
            assert sorted(hosts_of(job.events("worker_joined"))) == ["head", "worker-1"]
            cluster.join(host)
            until(lambda: len(job.events("worker_joined")) == 3, 30, "no worker on the new node")
            drain(cluster, cluster.hosts[1])
            until(lambda: job.events("worker_lost"), 30, "the drained node keeps its worker")
            job.assert_same_bits()
            [left] = job.events("worker_lost")
            assert (left["host"], left["reason"]) == ("worker-1", "dismissed")
            assert left["detail"] == "its node is being drained"
            assert job.counted(LOST) == 0
    finally:
        cluster.restart(*cluster.hosts[1:])
        cluster.settle()
