"""Outputs of trained parameters: by the network of the workers, or by the job's service."""

import importlib
import io
from collections.abc import Mapping
from typing import Any

from batchgrad.client import Client
from batchgrad.contract import LOSSES, Job, Model


def arrays(npz: bytes) -> dict[str, Any]:
    """The arrays of an npz by their names."""
    with importlib.import_module("numpy").load(io.BytesIO(npz)) as file:
        return dict(file)


def outputs(model: Model, parameters: Mapping[str, Any], inputs: Any) -> Any:
    """The network's outputs (n, outputs), float64, for raw inputs (n, …).

    Raises:
        ModuleNotFoundError: the workers' package is not installed.
    """
    network = importlib.import_module("batchgrad_workers.nn.network")
    bound = network.Network(model, inputs.shape[1:])
    return bound.forward(bound.views(bound.flat(parameters)), inputs.astype("float64"))[-1]


def outputs_by_service(client: Client, job: Job, inputs: Any) -> Any:
    """The same outputs from the job's service; of a softmax less a constant of each row.

    Raises:
        BatchgradError: the service does not answer, or has deleted the job.
    """
    np = importlib.import_module("numpy")
    found = client.predict(job.id, inputs)
    if found.probabilities is not None:
        return np.log(np.maximum(found.probabilities, np.finfo("float64").tiny))
    numbers = np.array(found.prediction, "float64").reshape(len(inputs), -1)
    if LOSSES[job.spec.network_loss].link == "sigmoid":
        inside = np.clip(numbers, np.finfo("float64").tiny, 1 - np.finfo("float64").epsneg)
        return np.log(inside) - np.log1p(-inside)
    return numbers
