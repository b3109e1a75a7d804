"""Dropout: some numbers of each example become 0 while a job trains."""

from dataclasses import dataclass
from typing import cast

import numpy as np

from batchgrad_workers.arrays import Array, Keys, Shape
from batchgrad_workers.nn.kernels.dropout import drop
from batchgrad_workers.nn.layers.base import KEYS, BaseLayer, Parameters


@dataclass(frozen=True)
class Dropout(BaseLayer):
    """z = m ∘ a / (1 - p) with m = 0 at probability p, else 1 (Srivastava et al. 2014).

    m follows from the example's key, so backward draws it again. Without keys z is its mean, a.
    """

    input_shape: Shape
    p: float

    @property
    def output_shape(self) -> Shape:
        return self.input_shape

    @property
    def draws(self) -> bool:
        return self.p > 0

    def forward(self, parameters: Parameters, inputs: Array) -> Array:
        return self._masked(inputs, parameters.get(KEYS))

    def backward(
        self, parameters: Parameters, inputs: Array, outputs: Array, error: Array
    ) -> Array:
        """M ∘ δ / (1 - p)."""
        del inputs, outputs
        return self._masked(error, parameters.get(KEYS))

    def _masked(self, array: Array, keys: Keys | None) -> Array:
        if keys is None:
            return array
        rows = np.ascontiguousarray(array).reshape(len(array), -1)
        out = np.empty_like(rows)
        drop(rows, keys, self.p, cast("float", array.dtype.type(1 / (1 - self.p))), out)
        return out.reshape(array.shape)
