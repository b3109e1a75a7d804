"""Words that name a row's set: of a column's values, and of folders of pictures."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from batchgrad_workers.data.dataset import SPLIT_SETS

_NAMES = {
    "training": ("training", "train", "fit"),
    "validation": ("validation", "validate", "valid", "val", "dev"),
    "test": ("test", "testing", "holdout", "held-out"),
}
_TRUTHS = {
    "training": ("false", "no", "f", "n", "0"),
    "validation": ("true", "yes", "t", "y", "1"),
}


def _numbers(words: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
    return {word: SPLIT_SETS.index(name) for name, each in words.items() for word in each}


NAMES = _numbers(_NAMES)
"""The number of the set that a word names, in lower case."""

_WORDS = NAMES | _numbers(_TRUTHS)

EXPECTED = "train, validation or test (or true for validation, false for training)"


def set_of(word: str) -> int | None:
    """The number of the set that a column's value names, None if it names none."""
    return _WORDS.get(word.strip().lower())


def sets(words: Any) -> npt.NDArray[np.uint8]:
    """The sets (n,) of texts (n,) that `set_of` knows."""
    coded = words.dictionary_encode()
    return np.array([set_of(word) for word in coded.dictionary.to_pylist()], np.uint8)[
        coded.indices.to_numpy()
    ]
