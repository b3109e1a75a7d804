"""Checkpoints that no training has written."""

from pathlib import Path

import numpy as np

from batchgrad_service.engine.checkpoints import Snapshot, write
from batchgrad_service.engine.messages import Checkpointed
from batchgrad_workers.dataset import Standardization
from tests.service.building import NOW
from tests.service.conftest import Bench

WEIGHTS = {
    "0.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "0.bias": np.zeros(2, np.float32),
}


def checkpoint(
    bench: Bench, job_id: str, step: int, standardization: Standardization | None = None
) -> None:
    """A real file and its row, of a job on three numbers and two classes."""
    directory: Path = bench.data_dir / "jobs" / job_id
    directory.mkdir(parents=True, exist_ok=True)
    parameters = {name: value + step for name, value in WEIGHTS.items()}
    digest = "sha256:" + "d" * 64
    written = write(directory, Snapshot(step, parameters, {}, standardization, digest, {}))
    attempt = bench.store.begin_attempt(job_id) or bench.store.job_inputs(job_id).attempt
    assert bench.store.record_checkpoint(
        job_id,
        attempt,
        Checkpointed(
            step=step,
            time=NOW,
            file=written.path.name,
            bytes=written.bytes,
            digest=written.digest,
            parameters_digest=digest,
        ),
    )
