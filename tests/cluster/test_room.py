"""Several jobs on one cluster: who finds no CPUs waits until others let go of some."""

from tests.cluster.cluster import Cluster, until
from tests.cluster.running import running
from tests.end_to_end.digits_job import bits, happened, spec, trained_bits

WHOLE = {"workers": {"min": 1, "max": 8}, "threads": "auto"}
"""A worker on each node, with all its CPUs."""


def test_who_finds_no_room_waits_and_obeys_meanwhile(cluster: Cluster) -> None:
    client = cluster.client
    undisturbed = trained_bits(client)

    def waits(job_id: str) -> bool:
        said = [event.data["detail"] for event in happened(client, job_id, "warning")]
        return any("no CPUs free" in detail for detail in said)

    with running(cluster, epochs=3000, **WHOLE) as first:
        waiting, unwanted = (client.submit(spec(**WHOLE)).id for _ in range(2))
        until(lambda: waits(waiting) and waits(unwanted), 30, "nobody says that there is no room")
        assert client.job(waiting).status == "starting"
        client.cancel(unwanted)
        until(lambda: client.job(unwanted).status == "cancelled", 5, "it does not obey")
        client.cancel(first.id)
        done = client.wait(waiting, timeout=60)
    assert (done.status, done.attempts) == ("succeeded", 1)
    assert bits(done) == undisturbed
