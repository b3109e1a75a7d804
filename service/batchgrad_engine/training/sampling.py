"""The sampler and the class weights of a job, from its spec and its dataset."""

import numpy as np

from batchgrad.contract import JobSpec
from batchgrad_workers.arrays import Array
from batchgrad_workers.data.dataset import StoredDataset
from batchgrad_workers.data.example_weights import Weights
from batchgrad_workers.data.sampler import Sampler


def job_sampler(spec: JobSpec, stored: StoredDataset) -> Sampler:
    """The split and the order of the rows that the job has, those of a weight above 0."""
    given = isinstance(spec.class_weights, dict)
    classes = int(stored.targets.max()) + 1 if given else 0
    weights = Weights(stored.weights, given_class_weights(spec, classes), stored.targets)
    return Sampler(
        seed=spec.seed,
        examples=len(stored.inputs),
        validation_fraction=spec.validation_fraction,
        batch_size=spec.minibatch(len(stored.inputs)),
        present=weights.present,
    )


def given_class_weights(spec: JobSpec, classes: int) -> Array | None:
    """One weight a class (classes,), 1 where the spec has none; None unless it lists them."""
    if not isinstance(spec.class_weights, dict):
        return None
    return np.array([spec.class_weights.get(label, 1.0) for label in range(classes)])
