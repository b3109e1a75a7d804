"""Downloads of networks that were not trained, and their outputs; numpy and our network alone."""

import json
from typing import Any

import numpy as np
from safetensors.numpy import save

from batchgrad.contract import JobSpec, Precision
from batchgrad.downloads.card import TrainedOn
from batchgrad_workers.arrays import Array
from batchgrad_workers.data.standardization import Standardization
from batchgrad_workers.nn.network import Network
from tests.engine.small_job import spec


def download(
    of: Network,
    layers: list[dict[str, Any]],
    precision: Precision = "float32",
    standardization: Standardization | None = None,
    **changes: Any,
) -> bytes:
    """A safetensors download of `of`, which has `layers`, with parameters around 0."""
    job: JobSpec = spec(model={"layers": layers}, precision=precision, **changes)
    training = TrainedOn.of(
        job,
        dataset_digest="sha256:" + "1" * 64,
        input_shape=of.input_shape,
        inputs=None,
        classes=None,
        versions={},
    )
    about: dict[str, Any] = {
        "which": "last",
        "step": 1,
        "parameters_digest": "sha256:" + "2" * 64,
        "training": training.model_dump(),
    }
    if standardization:
        known = {"mean": standardization.mean, "deviation": standardization.deviation}
        about["standardization"] = {name: array.tolist() for name, array in known.items()}
    return save(of.named(theta(of, precision)), {"batchgrad": json.dumps(about)})


def theta(of: Network, precision: Precision) -> Array:
    return np.random.default_rng(1).normal(0, 0.5, of.size).astype(precision)


def drawn_inputs(of: Network, precision: Precision, examples: int = 4) -> Any:
    """Ids if the network takes ids."""
    random = np.random.default_rng(2)
    shape = (examples, *of.input_shape)
    if of.takes_ids:
        return random.integers(0, 5, shape)
    return random.normal(0, 2, shape).astype(precision)


def outputs(of: Network, inputs: Any, precision: Precision) -> Array:
    with np.errstate(all="ignore"):
        return of.forward(of.views(theta(of, precision)), inputs)[-1]
