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
    """Names in Ray of the nodes that are alive, by address."""
    said = cluster.head.run(*cluster.python(NODES)).splitlines()
    [line] = [line for line in said if line.startswith("{")]  # Ray too says something, at any time
    found: dict[str, str] = json.loads(line)
    return found


def drain(cluster: Cluster, host: Host) -> None:
    """As an autoscaler does it with a node that will be taken away."""
    node = nodes(cluster)[host.address]
    cluster.head.run(
        *cluster.ray("drain-node", f"--address={cluster.head.address}:{RAY_PORT}"),
        *("--node-id", node, "--reason", "DRAIN_NODE_REASON_PREEMPTION"),
        *("--reason-message", "a test", "--deadline-remaining-seconds", "20"),
    )


def hosts_of(events: list[dict[str, Any]]) -> list[str]:
    return [each["host"] for each in events]


def test_one_worker_a_node_follows_the_cluster(cluster: Cluster) -> None:
    host = cluster.hosts[2]
    try:
        cluster.leave(host)
        until(lambda: len(nodes(cluster)) == 2, 30, "a dead node is still counted")
        with running(cluster, epochs=900, workers={"min": 1, "max": 8}, threads="auto") as job:
            assert sorted(hosts_of(job.events("worker_joined"))) == ["head", "worker-1"]
            cluster.join(host)
            until(lambda: len(job.events("worker_joined")) == 3, 5, "nobody on the new node")
            drain(cluster, cluster.hosts[1])
            until(lambda: job.events("worker_lost"), 5, "the node was not left")
            job.ends_well()
            [left] = job.events("worker_lost")
            assert (left["host"], left["reason"]) == ("worker-1", "dismissed")
            assert left["detail"] == "its node is being drained"
            assert job.counted(LOST) == 0
    finally:
        cluster.restart(*cluster.hosts[1:])
