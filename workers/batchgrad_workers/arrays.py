"""Array types for signatures, and the order of an array's axes in memory."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.floating[Any]]
Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.integer[Any]]
Keys: TypeAlias = npt.NDArray[np.uint64]
Shape: TypeAlias = tuple[int, ...]


def memory_order(strides: Shape) -> list[int]:
    """Axes from the longest stride to the shortest, whose numbers are adjacent."""
    return sorted(range(len(strides)), key=lambda axis: -strides[axis])
