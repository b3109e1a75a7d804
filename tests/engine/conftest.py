"""Fixtures for tests of the engine: a dataset, a job, workers that wait."""

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from batchgrad_workers.runtime.config import WorkerConfig
from tests.engine.worker_pools import WorkerPool
from tests.workers.jobs import store, worker_config


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A stored dataset: 101 examples of 6 numbers, 3 classes, with weights."""
    random = np.random.default_rng(3)
    directory = tmp_path / "dataset"
    directory.mkdir()
    inputs = random.normal(size=(101, 6)).astype(np.float32)
    scores = inputs @ random.normal(size=(6, 3))
    np.save(directory / "inputs.npy", inputs)
    np.save(directory / "targets.npy", scores.argmax(axis=1))
    np.save(directory / "weights.npy", random.uniform(0.5, 2, 101))
    return directory


@pytest.fixture
def job_directory(tmp_path: Path) -> Path:
    directory = tmp_path / "job"
    directory.mkdir()
    return directory


@pytest.fixture
def job(tmp_path: Path) -> WorkerConfig:
    """A job's config on a dataset of its own, for executors that need no engine."""
    return worker_config(store(tmp_path))


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    with threadpool_limits(limits=1), closing(WorkerPool()) as made:
        yield made


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Workers that hang wait for this event; it is set at the end of the test."""
    event = threading.Event()
    yield event
    event.set()
