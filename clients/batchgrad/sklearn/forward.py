"""Outputs of trained parameters, by the network of the workers."""

import importlib
import io
from collections.abc import Mapping
from typing import Any

from batchgrad.contract import Model
from batchgrad.errors import Unavailable, extra


def arrays(npz: bytes) -> dict[str, Any]:
    """The arrays of an npz by their names."""
    with importlib.import_module("numpy").load(io.BytesIO(npz)) as file:
        return dict(file)


def outputs(model: Model, parameters: Mapping[str, Any], inputs: Any) -> Any:
    """The network's outputs (n, outputs), float64, for raw inputs (n, …).

    Raises:
        Unavailable: the workers' package is not installed.
    """
    try:
        network = importlib.import_module("batchgrad_workers.nn.network")
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"Predictions need {error.name}, which is not installed: {extra('service')}"
        ) from error
    bound = network.Network(model, inputs.shape[1:])
    return bound.forward(bound.views(bound.flat(parameters)), inputs.astype("float64"))[-1]
