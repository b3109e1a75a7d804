"""Several jobs on one cluster: a job without free CPUs waits until others release some."""

from tests.cluster.cluster import Cluster, until
from tests.cluster.running import running
from tests.end_to_end.digits_job import bits, events_of, spec, trained_bits

WHOLE = {"workers": {"min": 1, "max": 8}, "threads": "auto"}
"""A worker on each node, with all its CPUs."""


def test_a_job_without_free_cpus_waits_and_can_be_cancelled(cluster: Cluster) -> None:
    client = cluster.client
    undisturbed = trained_bits(client)

    def waits(job_id: str) -> bool:
        warnings = [event.data["detail"] for event in events_of(client, job_id, "warning")]
        return any("no CPUs free" in detail for detail in warnings)

    with running(cluster, epochs=3000, **WHOLE) as first:
        waiting, unwanted = (client.submit(spec(**WHOLE)).id for _ in range(2))
        until(lambda: waits(waiting) and waits(unwanted), 30, "no warning about free CPUs")
        assert client.job(waiting).status == "starting"
        client.cancel(unwanted)
        until(lambda: client.job(unwanted).status == "cancelled", 30, "the job is not cancelled")
        client.cancel(first.id)
        done = client.wait(waiting, timeout=60)
    assert (done.status, done.attempts) == ("succeeded", 1)
    assert bits(done) == undisturbed
