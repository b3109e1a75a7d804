"""Splits that tests compare a job's with."""

import numpy as np

from batchgrad.contract import Validation
from batchgrad_workers.data.dataset import StoredDataset
from batchgrad_workers.data.split import Split, split


def drawn(examples: int, fraction: float, seed: int = 0) -> Split:
    """`fraction` of `examples` rows held out, as validation_fraction does it."""
    dataset = StoredDataset({"inputs": np.zeros((examples, 1)), "targets": np.zeros(examples)})
    return split(Validation(fraction=fraction) if fraction else None, dataset, seed=seed)
