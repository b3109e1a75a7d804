"""Jobs that follow a cluster while they run: nodes join, nodes are drained."""

import json
from typing import Any

from tests.cluster.cluster import RAY_PORT, Cluster, until
from tests.cluster.hosts import Host
from tests.cluster.running import LOST, running

NODES = """
import json, ray
ray.init(address="auto", log_to_driver=False)
print(json.dumps({n["NodeManagerAddress"]: n["NodeID"] for n in ray.nodes() if n["Alive"]}))
"""


def nodes(cluster: Cluster) -> dict[str, str]:
    """Node ids of the living nodes, by address."""
    lines = cluster.head.run(*cluster.python(NODES)).splitlines()
    [line] = [line for line in lines if line.startswith("{")]  # Ray may print lines as well
    found: dict[str, str] = json.loads(line)
    return found


def drain(cluster: Cluster, host: Host) -> None:
    """Drain a node, as an autoscaler does before it removes it."""
    node = nodes(cluster)[host.address]
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
        until(lambda: len(nodes(cluster)) == 2, 30, "a dead node is still counted")
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
