"""Random generators that depend on (seed, purpose, epoch) alone."""

from typing import Literal

import numpy as np

Purpose = Literal["parameters", "split", "shuffle"]
_PURPOSES: dict[Purpose, int] = {"parameters": 0, "split": 1, "shuffle": 2}


def generator(seed: int, purpose: Purpose, epoch: int = 0) -> np.random.Generator:
    """A new generator; the same three arguments always give the same numbers."""
    return np.random.Generator(np.random.PCG64([seed, _PURPOSES[purpose], epoch]))
