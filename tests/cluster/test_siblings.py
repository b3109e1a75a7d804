"""Workers that pass θ on and join sums among themselves: bits, bytes, and losses in between."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.running import WIDE, running
from tests.cluster.test_bytes import JOB, METRIC, PARAMETERS, STEPS
from tests.end_to_end.digits_job import events_of, spec, trained_bits

EIGHT = {**JOB, "batch_size": 512}
"""M = 8 (7 in an epoch's last step): of four hosts each has one or two maximal aligned ranges."""

SLOW_MEGABITS = 60
RELIED_ON = "others relied on"


@pytest.fixture(scope="module")
def four(cluster: Cluster) -> Iterator[Cluster]:
    """A fourth host, and a service whose workers share the exchange from two other nodes on."""
    host = cluster.add_host()
    try:
        cluster.join(host)
        cluster.serve_again("BATCHGRAD_SIBLINGS_FROM_NODES=2")
        yield cluster
    finally:
        cluster.leave(host)
        cluster.hosts.remove(host)
        host.end()
        cluster.settle()
        cluster.serve_again()


@contextmanager
def slow_links(cluster: Cluster) -> Iterator[None]:
    with ExitStack() as stack:
        for host in cluster.hosts:
            host.shape(SLOW_MEGABITS)
            stack.callback(host.shape, None)
        yield


@pytest.mark.parametrize(("sums", "number_bytes"), [("full", 4), ("bfloat16", 2)])
def test_the_coordinator_exchanges_two_vectors_with_three_nodes(
    four: Cluster, sums: str, number_bytes: int
) -> None:
    changes = {**EIGHT, "sums": sums}
    alone = trained_bits(four.client, **changes, workers=0)
    counted = {way: four.metric(METRIC, direction=way, transport="ray") for way in ("in", "out")}
    carried = four.head.traffic()
    job = four.client.wait(four.client.submit(spec(**changes, workers=4, threads=2)).id, timeout=60)
    carried = four.head.traffic() - carried
    assert (job.parameters_digest, job.last_parameters_digest) == alone
    assert not events_of(four.client, job.id, "retry")
    counted = {
        way: four.metric(METRIC, direction=way, transport="ray") - counted[way] for way in counted
    }
    # θ to two nodes; the second node's sums, and those of the third and fourth together.
    assert counted["in"] == pytest.approx(STEPS * number_bytes * PARAMETERS * 2, rel=0.15)
    assert counted["out"] == pytest.approx(STEPS * 4 * PARAMETERS * 2, rel=0.05)
    assert carried.into == pytest.approx(counted["in"], rel=0.1)
    assert carried.out == pytest.approx(counted["out"], rel=0.1)


@pytest.mark.parametrize(
    ("place", "sent"),
    [(0, signal.SIGKILL), (1, signal.SIGKILL), (0, signal.SIGSTOP)],
    ids=str,
)
def test_a_worker_lost_while_arrays_travel_changes_no_bit(
    four: Cluster, place: int, sent: signal.Signals
) -> None:
    with slow_links(four), running(four, **{**WIDE, "epochs": 12}, workers=4) as job:
        joined = [each["host"] for each in job.events("worker_joined") if each["host"] != "head"]
        [host] = [host for host in four.hosts if host.name == joined[place]]
        host.send(sent, [job.worker_on(host)])
        job.assert_same_bits()
        assert [lost["host"] for lost in job.losses()] == [host.name]
        relied = [each for each in job.events("retry") if RELIED_ON in each.get("detail", "")]
        # Idle workers compute the ranges of one that is stopped, and of those that wait for its θ.
        assert relied or sent == signal.SIGSTOP
