"""Fixtures of tests with Prometheus, which `make test-monitoring` alone collects."""

import os
from collections.abc import Iterator

import pytest

from tests.monitoring.programs import ENABLED
from tests.monitoring.watched import Watched

collect_ignore_glob = [] if ENABLED in os.environ else ["test_live_*.py"]


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A service with jobs, and a Prometheus and an Alertmanager that watch it."""
    with Watched(tmp_path_factory.mktemp("watched")) as made:
        yield made
