"""One real service for all tests here, with a real Ray cluster of its own."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchgrad.client import Client
from batchgrad.contract import JobSpec
from batchgrad.user_machine.demo import digits
from batchgrad.user_machine.private_service import private_service
from tests.end_to_end.digits_job import Bits, spec
from tests.engine import attempts

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


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Bits]:
    """Digests of a job on the digits that this process trains, on one thread and undisturbed."""
    dataset = tmp_path_factory.mktemp("digits")
    for name, array in zip(("inputs", "targets"), digits(), strict=True):
        np.save(dataset / f"{name}.npy", array)

    def train(**changes: Any) -> Bits:
        job = JobSpec.model_validate(spec(workers=0, threads=1, **changes))
        messages = attempts.attempt(job, dataset, tmp_path_factory.mktemp("job"))
        kept, last = attempts.bits(messages)
        assert kept is not None
        assert last is not None
        return kept, last

    return train
