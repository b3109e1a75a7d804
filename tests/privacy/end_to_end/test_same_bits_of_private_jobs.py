"""Under a fixed key, a private job has the same bits on any workers, and after deaths of them."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchgrad.client import Client
from batchgrad.contract import Job
from batchgrad.user_machine.demo import digits
from batchgrad_engine.privacy.charges import charged
from tests.end_to_end.digits_job import (
    PATIENCE_SECONDS,
    Bits,
    bits,
    events_of,
    kill_engine,
    trained_bits,
    under_way,
)

pytestmark = pytest.mark.ray

LONG = 900
"""Steps of a job that does not end before it is disturbed; 6 are an epoch."""

MODELS: dict[str, list[dict[str, Any]]] = {
    "linear": [
        {"kind": "linear", "out_features": 24},
        {"kind": "tanh"},
        {"kind": "linear", "out_features": 10},
    ],
    "conv": [
        {"kind": "conv2d", "out_channels": 4, "kernel_size": 3},
        {"kind": "relu"},
        {"kind": "flatten"},
        {"kind": "linear", "out_features": 10},
    ],
    "embedding": [
        {"kind": "embedding", "num_embeddings": 17, "embedding_dim": 3},
        {"kind": "flatten"},
        {"kind": "linear", "out_features": 10},
    ],
}


def private(model: str, **changes: Any) -> dict[str, Any]:
    """Changes of the demo's job that make it private, with a model."""
    return {
        "model": {"layers": MODELS[model]},
        "dataset": f"private-{model}",
        "shortcuts": [],
        "standardize": False,
        "epochs": None,
        "steps": 25,
        "microbatch_size": 32,
        "privacy": {
            "delta": 1e-5,
            "noise_multiplier": 1.0,
            "clip_norm": 0.5,
            "clipping": "quantile" if model == "linear" else "flat",
            "accountant": "rdp",
            "validation": "public",
        },
        **changes,
    }


def long() -> dict[str, Any]:
    """Changes that make it long, too."""
    changes = {**private("linear"), "epochs": LONG // 6}
    del changes["steps"]
    return changes


@pytest.fixture(scope="module", autouse=True)
def datasets(client: Client) -> None:
    inputs, targets = digits()
    scaled = (inputs / 16).astype(np.float32)
    client.put_arrays("private-linear", scaled, targets)
    client.put_arrays("private-conv", scaled.reshape(-1, 1, 8, 8), targets)
    tokens = np.random.default_rng(0).integers(0, 17, (700, 9))
    client.put_arrays("private-embedding", tokens, tokens.sum(axis=1) % 10)


@pytest.fixture(scope="module")
def alone(client: Client) -> dict[str, Bits]:
    """The bits of each model on one thread."""
    return {m: trained_bits(client, workers=0, threads=1, **private(m)) for m in MODELS}


@pytest.fixture(scope="module")
def undisturbed(client: Client) -> Bits:
    """The bits of the long job on one thread."""
    return trained_bits(client, workers=0, threads=1, **long())


THREADS = {"workers": 0, "threads": 2}


@pytest.mark.parametrize(
    ("model", "workers"),
    [
        ("linear", THREADS),
        ("conv", THREADS),
        ("linear", {"workers": 3}),
        ("conv", {"workers": 1}),
        ("embedding", {"workers": 2}),
    ],
    ids=str,
)
def test_any_workers_and_threads_give_the_same_bits(
    client: Client, alone: dict[str, Bits], model: str, workers: dict[str, Any]
) -> None:
    assert trained_bits(client, **workers, **private(model)) == alone[model]


def test_two_jobs_with_other_noise_would_differ(client: Client, alone: dict[str, Bits]) -> None:
    less = private("conv")
    less["privacy"] = {**less["privacy"], "noise_multiplier": 1.001}
    assert trained_bits(client, workers=0, threads=1, **less) != alone["conv"]


def test_a_killed_worker_changes_no_bit(
    client: Client, data_folder: Path, undisturbed: Bits
) -> None:
    """It is stopped first, so that it has a range to compute when it dies."""
    with under_way(client, 30, workers=2, **long()) as job:
        victim = events_of(client, job.id, "worker_joined")[0].data["pid"]
        os.kill(victim, signal.SIGSTOP)
        time.sleep(0.05)
        os.kill(victim, signal.SIGKILL)
        done = client.wait(job.id, timeout=PATIENCE_SECONDS)
    assert events_of(client, job.id, "worker_lost")
    assert bits(done) == undisturbed
    charged_once(data_folder, done)


def test_a_killed_engine_changes_no_bit_and_charges_no_step_twice(
    client: Client, data_folder: Path, undisturbed: Bits
) -> None:
    """Without workers it is `supervisor/test_private_engines.py`."""
    job_changes = {**long(), "checkpoint_interval_seconds": 0.05}
    with under_way(client, 30, workers=2, **job_changes) as job:
        kill_engine(data_folder, job.id)
        done = client.wait(job.id, timeout=PATIENCE_SECONDS)
    assert done.attempts == 2
    assert bits(done) == undisturbed
    charged_once(data_folder, done)


def charged_once(data_folder: Path, done: Job) -> None:
    """Check that a job has a charge for each step."""
    (directory,) = data_folder.glob(f"*/jobs/{done.id}")
    assert charged(directory) == done.step == LONG
