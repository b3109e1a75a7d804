"""Random generators that depend on (seed, purpose, epoch), and keys on (seed, step, example)."""

from typing import Literal

import numpy as np

from batchgrad_workers.arrays import Integers, Keys

Purpose = Literal["parameters", "split", "shuffle"]
_PURPOSES: dict[Purpose, int] = {"parameters": 0, "split": 1, "shuffle": 2}

STEP = np.uint64(0x9E3779B97F4A7C15)
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
"""Constants of SplitMix64 (Steele, Lea and Flood 2014)."""


def generator(seed: int, purpose: Purpose, epoch: int = 0) -> np.random.Generator:
    """A new generator; the same three arguments always give the same numbers."""
    return np.random.Generator(np.random.PCG64([seed, _PURPOSES[purpose], epoch]))


def mixed(keys: Keys) -> Keys:
    """64 random bits for each key (the output function of SplitMix64)."""
    z = (keys ^ (keys >> np.uint64(30))) * FIRST
    z = (z ^ (z >> np.uint64(27))) * SECOND
    return z ^ (z >> np.uint64(31))


def derived(keys: Keys, number: int) -> Keys:
    """New keys (n,) from `keys` (n,) and a number from 0."""
    return mixed(keys + np.array([number + 1], np.uint64) * STEP)


def example_keys(seed: int, step: int, ids: Integers) -> Keys:
    """A random key of each example (n,) for its draws at a step, the same in any microbatch."""
    of_step = derived(mixed(np.array([seed], np.uint64)), step)
    return mixed(of_step + (ids.astype(np.uint64) + np.uint64(1)) * STEP)
