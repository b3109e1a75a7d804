"""Flatten, and activations as layers."""

from dataclasses import dataclass
from math import prod

import numpy as np

from batchgrad_workers.arrays import Array, Shape
from batchgrad_workers.nn.activations import Activation
from batchgrad_workers.nn.layers.base import BaseLayer, Parameters


@dataclass(frozen=True)
class Flatten(BaseLayer):
    """Every example as one vector."""

    input_shape: Shape

    @property
    def output_shape(self) -> Shape:
        return (prod(self.input_shape),)

    def forward(self, parameters: Parameters, inputs: Array) -> Array:
        del parameters
        return inputs.reshape(len(inputs), -1)

    def backward(
        self, parameters: Parameters, inputs: Array, outputs: Array, error: Array
    ) -> Array:
        """The error in the inputs' shape and order of memory."""
        del parameters, outputs
        if inputs.flags.c_contiguous:
            return error.reshape(inputs.shape)
        below = np.empty_like(inputs, error.dtype)
        below[...] = error.reshape(inputs.shape)
        return below


@dataclass(frozen=True)
class Elementwise(BaseLayer):
    """An activation."""

    input_shape: Shape
    activation: Activation

    @property
    def output_shape(self) -> Shape:
        return self.input_shape

    def forward(self, parameters: Parameters, inputs: Array) -> Array:
        del parameters
        return self.activation.forward(inputs)

    def backward(
        self, parameters: Parameters, inputs: Array, outputs: Array, error: Array
    ) -> Array:
        del parameters
        return self.activation.backward(error, inputs, outputs)
