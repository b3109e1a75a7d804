"""The layout of parameters in one flat vector θ: names, shapes and layers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from batchgrad_workers.arrays import Array, Shape
from batchgrad_workers.digests import digest


@dataclass(frozen=True)
class ParameterSlice:
    """One parameter's slice of θ; `layer` is the number of the layer that it belongs to."""

    name: str
    layer: int
    local_name: str
    shape: Shape
    start: int

    @property
    def size(self) -> int:
        """Its number of elements."""
        return prod(self.shape)


class ParameterLayout:
    """The slices of θ (P,) in order. `names` are the layers', `learning` those with parameters."""

    names: Sequence[str]
    slices: Sequence[ParameterSlice]
    size: int

    def __init__(self, names: Sequence[str], slices: Sequence[ParameterSlice]) -> None:
        """Parameters follow each other in `slices`."""
        self.names = names
        self.slices = slices
        self.size = sum(each.size for each in slices)
        self.learning = list(dict.fromkeys(each.layer for each in slices))

    def named(self, flat: Array) -> dict[str, Array]:
        """Full names to views of `flat` (P,), in order."""
        return {
            each.name: flat[each.start : each.start + each.size].reshape(each.shape)
            for each in self.slices
        }

    def flat(self, named: Mapping[str, Array]) -> Array:
        """θ (P,), a new array, from the result of `named`."""
        return np.concatenate([named[each.name].ravel() for each in self.slices])

    def digest(self, flat: Array) -> str:
        """SHA-256 over name, dtype, shape and little-endian bytes of each parameter, in order."""
        return digest(self.named(flat))
