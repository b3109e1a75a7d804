"""The array types that signatures speak of."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.floating[Any]]
Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.integer[Any]]
Shape: TypeAlias = tuple[int, ...]


def memory_order(strides: Shape) -> list[int]:
    """Axes from the one with the longest stride to the one whose numbers lie side by side."""
    return sorted(range(len(strides)), key=lambda axis: -strides[axis])
