"""The service of the guide's commands. `make test-docs` alone collects these tests."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import batchgrad
from batchgrad import Client
from tests.guide.__main__ import COLLECTED

collect_ignore_glob = [] if os.environ.get(COLLECTED) else ["test_*.py"]


@dataclass(frozen=True)
class Service:
    """A running service: a client, and the environment of commands that use it."""

    client: Client
    variables: dict[str, str]


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One private service for all pages of this process."""
    folder = tmp_path_factory.mktemp("service")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BATCHGRAD_")}
    with batchgrad.local(folder=folder) as client:
        [token] = folder.glob("*/token")
        yield Service(
            client,
            {
                **kept,
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "BATCHGRAD_URL": client.url,
                "BATCHGRAD_TOKEN": token.read_text().strip(),
                "MPLBACKEND": "agg",
                "COLUMNS": "120",
            },
        )
