"""Plans of private jobs on arrays, by an accountant in the test's own process."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import anyio
import numpy as np

from batchgrad.contract import Dataset, JobSpec, Plan
from batchgrad_engine.privacy.accountant.answering import answer
from batchgrad_engine.privacy.accounted import Accounted
from batchgrad_service.datasets.validation import inspect
from batchgrad_service.privacy.planning import Accounting
from batchgrad_service.validation.job_data import JobData
from batchgrad_service.validation.plan import plan
from tests.service.building import NOW, spec

ROWS = 400
PRIVACY = {"delta": 1e-5, "clip_norm": 1.0, "noise_multiplier": 1.5, "accountant": "rdp"}


def private_spec(privacy: dict[str, Any] | None = None, **changes: Any) -> JobSpec:
    """A private job of 40 steps at q = 1/20; `privacy` changes keys of PRIVACY, None removes."""
    keys = {key: x for key, x in (PRIVACY | (privacy or {})).items() if x is not None}
    return spec(**({"batch_size": 20, "steps": 40, "privacy": keys} | changes))


def stored(directory: Path, **arrays: Any) -> JobData:
    """ROWS rows of two classes, with other arrays besides."""
    inputs = np.arange(3 * ROWS, dtype=np.float32).reshape(ROWS, 3) / ROWS
    made = {"inputs": inputs, "targets": np.arange(ROWS) % 2} | arrays
    for name, array in made.items():
        np.save(directory / f"{name}.npy", array)
    return JobData(Dataset(name="d", created_at=NOW, **asdict(inspect(directory))), directory)


def private_plan(
    data: JobData, wanted: JobSpec, accounting: Accounting | None = None
) -> tuple[Plan, Accounted]:
    """The plan of a private job, and what its accountant found out."""
    accounting = accounting or Accounting(answer)
    return anyio.run(accounting.complete, plan(wanted, data), wanted, data)
