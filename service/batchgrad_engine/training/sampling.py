"""The sampler of a job, from its spec and its dataset."""

from batchgrad.contract import JobSpec
from batchgrad_engine.training.class_weights import given_class_weights
from batchgrad_workers.arrays import Integers
from batchgrad_workers.data.dataset import StoredDataset
from batchgrad_workers.data.example_weights import Weights
from batchgrad_workers.data.sampler import Sampler
from batchgrad_workers.data.split import split


def job_sampler(spec: JobSpec, stored: StoredDataset) -> Sampler:
    """The split and the minibatches of the job's rows, without rows of weight 0."""
    given = isinstance(spec.class_weights, dict)
    classes = int(stored.targets.max()) + 1 if given else 0
    class_weights = given_class_weights(spec, classes, stored.class_names)
    weights = Weights(stored.weights, class_weights, stored.arrays.get("targets"))
    return sampler_of(spec, stored, weights.present)


def sampler_of(spec: JobSpec, stored: StoredDataset, present: Integers | None) -> Sampler:
    """The split and the minibatches of the rows `present`; None: of all rows."""
    return Sampler(
        split(spec.held_out, stored, seed=spec.seed, present=present),
        seed=spec.seed,
        batch_size=spec.minibatch(len(stored)),
    )
