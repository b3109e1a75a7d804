"""A column that names each row's set: training, validation or test."""

from typing import Any

import numpy as np
import numpy.typing as npt

from batchgrad_workers.data.dataset import SPLIT_SETS

_WORDS = {
    "training": ("training", "train", "fit", "false", "no", "f", "n", "0"),
    "validation": ("validation", "validate", "valid", "val", "dev", "true", "yes", "t", "y", "1"),
    "test": ("test", "testing", "holdout", "held-out"),
}
_SETS = {word: SPLIT_SETS.index(name) for name, words in _WORDS.items() for word in words}

EXPECTED = "train, validation or test (or true for validation, false for training)"


def set_of(word: str) -> int | None:
    """The number of the set that `word` names, None if it names none."""
    return _SETS.get(word.strip().lower())


def sets(words: Any) -> npt.NDArray[np.uint8]:
    """The sets (n,) of texts (n,) that `set_of` knows."""
    coded = words.dictionary_encode()
    return np.array([set_of(word) for word in coded.dictionary.to_pylist()], np.uint8)[
        coded.indices.to_numpy()
    ]
