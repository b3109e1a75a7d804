"""A job on three hosts."""

from tests.cluster.cluster import Cluster
from tests.end_to_end.digits_job import bits, events_of, spec, trained_bits


def test_all_hosts_compute_and_the_result_has_the_bits_of_one_process(cluster: Cluster) -> None:
    alone = trained_bits(cluster.client, workers=0, threads=1)
    job = cluster.client.submit(spec(workers=3, threads=2))
    done = cluster.client.wait(job.id, timeout=60)
    joined = events_of(cluster.client, job.id, "worker_joined")
    assert {event.data["host"] for event in joined} == {host.name for host in cluster.hosts}
    assert {row.workers for row in cluster.client.steps(job.id)} == {3}
    assert bits(done) == alone
    for host in cluster.hosts[1:]:  # they had to fetch the dataset
        assert not host.files(str(cluster.data_dir))
