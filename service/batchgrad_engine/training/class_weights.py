"""Class weights of a job: those in its spec, or weights that balance its training rows."""

from collections.abc import Sequence

import numpy as np

from batchgrad.contract import JobSpec
from batchgrad_workers.arrays import Array, Integers


def given_class_weights(
    spec: JobSpec, classes: int, names: Sequence[str] | None = None
) -> Array | None:
    """One weight per class (classes,), 1 if the spec lists none for it; None if it has no list.

    The spec lists classes by their `names`, or by their numbers if they have none.
    """
    if not isinstance(spec.class_weights, dict):
        return None
    labels = [*(names or map(str, range(classes)))]
    found = np.ones(max(classes, len(labels)))
    found[: len(labels)] = [spec.class_weights.get(label, 1.0) for label in labels]
    return found


def balanced_class_weights(training: Integers, classes: int) -> Array:
    """Weights n / (classes · n_c), (classes,), from the classes (n,) of the training rows."""
    counts = np.bincount(training, minlength=classes)
    present = np.count_nonzero(counts)
    return np.where(counts > 0, len(training) / (present * np.maximum(counts, 1)), 1.0)
