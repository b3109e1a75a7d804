"""Bytes of a step on the network: the formula, the metric and the interface's counters agree."""

from typing import Any

import pytest

from tests.cluster.cluster import Cluster
from tests.end_to_end.digits_job import trained_bits

METRIC = "batchgrad_bytes_transferred_total"
STEPS = 40
HIDDEN = 4096
PARAMETERS = 64 * HIDDEN + HIDDEN + HIDDEN * 10 + 10
JOB: dict[str, Any] = {
    "model": {
        "layers": [
            {"kind": "linear", "out_features": HIDDEN},
            {"kind": "relu"},
            {"kind": "linear", "out_features": 10},
        ]
    },
    # M = 6 (5 in an epoch's last step): each of three hosts has one maximal aligned range.
    "batch_size": 384,
    "microbatch_size": 64,
    "validation_fraction": 0.0,
    "epochs": None,
    "steps": STEPS,
    "shortcuts": [],
}


@pytest.mark.parametrize("megabits", [None, 100])
def test_bytes_of_a_job_on_three_hosts(cluster: Cluster, megabits: int | None) -> None:
    alone = trained_bits(cluster.client, **JOB, workers=0)
    if megabits:
        for host in cluster.hosts:
            host.shape(megabits)
    try:
        counted = {
            way: cluster.metric(METRIC, direction=way, transport="ray") for way in ("in", "out")
        }
        carried = cluster.head.traffic()
        assert trained_bits(cluster.client, **JOB, workers=3, threads=2) == alone
        carried = cluster.head.traffic() - carried
        counted = {
            way: cluster.metric(METRIC, direction=way, transport="ray") - counted[way]
            for way in counted
        }
    finally:
        if megabits:
            for host in cluster.hosts:
                host.shape(None)
    expected = STEPS * 4 * PARAMETERS * 2  # the other two hosts: a sum from each, θ to each
    assert counted["in"] == pytest.approx(expected, rel=0.1)
    assert counted["out"] == pytest.approx(expected, rel=0.1)
    assert carried.into == pytest.approx(counted["in"], rel=0.1)
    assert carried.out == pytest.approx(counted["out"], rel=0.1)
