"""Plans of jobs on arrays, without a service."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from batchgrad.contract import Dataset, JobSpec, Plan
from batchgrad_service.datasets.validation import inspect
from batchgrad_service.validation.job_data import JobData
from batchgrad_service.validation.plan import plan
from tests.service.building import NOW

SGD = {"kind": "sgd", "learning_rate": 0.1}


def planned(
    directory: Path, inputs: Any, targets: Any, weights: Any = None, **changes: Any
) -> Plan:
    """The plan of a job on these arrays; `layers` may be a list of layers or of kinds."""
    (directory / "weights.npy").unlink(missing_ok=True)
    arrays = {"inputs": inputs, "targets": targets}
    for name, array in (arrays if weights is None else {**arrays, "weights": weights}).items():
        np.save(directory / f"{name}.npy", array)
    dataset = Dataset(name="d", created_at=NOW, **asdict(inspect(directory)))
    spec = {"name": "j", "dataset": "d", "optimizer": SGD, "batch_size": 8, "epochs": 2}
    if layers := changes.pop("layers", None):
        spec["model"] = {"layers": [{"kind": x} if isinstance(x, str) else x for x in layers]}
    return plan(JobSpec.model_validate(spec | changes), JobData(dataset, directory))


def linear(outputs: int) -> dict[str, Any]:
    """A linear layer."""
    return {"kind": "linear", "out_features": outputs}
