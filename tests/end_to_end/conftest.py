"""One real service for all tests here, with a real Ray cluster of its own."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchgrad.client import Client
from batchgrad.user_machine.demo import digits
from batchgrad.user_machine.private_service import private_service

COMMAND = (
    "env",
    "BATCHGRAD_WORKER_HEARTBEAT_TIMEOUT_SECONDS=2",
    f"BATCHGRAD_UNSAFE_PRIVACY_KEY={bytes(range(32)).hex()}",  # of private jobs: fixed
    sys.executable,
    "-m",
    "batchgrad",
    "serve",
)


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="session")
def client(data_folder: Path) -> Iterator[Client]:
    with private_service(COMMAND, folder=data_folder) as client:
        client.put_arrays("digits", *digits())
        yield client
