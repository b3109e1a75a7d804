"""Three hosts and the service for all tests here. Collected by `make test-cluster` alone."""

import os
from collections.abc import Generator, Iterator

import pytest

from batchgrad.user_machine.demo import digits
from tests.cluster.cluster import MOUNTED, Cluster
from tests.cluster.hosts import INSIDE

collect_ignore_glob = [] if os.environ.get(INSIDE) else ["test_*.py"]
LOG_BYTES = 4000


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    try:
        for _ in range(3):
            made.join(made.add_host())
        made.serve()
        made.client.put_arrays("digits", *digits())
        yield made
    finally:
        made.end()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the ends of all logs with a failure: the logs are deleted with the namespaces."""
    report = yield
    if report.failed:
        for log in sorted({*MOUNTED.glob("*.log"), *MOUNTED.glob("data/jobs/*/*.log")}):
            end = log.read_bytes()[-LOG_BYTES:].decode(errors="replace")
            report.sections.append((str(log), end))
    return report
