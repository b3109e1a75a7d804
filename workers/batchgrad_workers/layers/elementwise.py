"""Layers that only rearrange, or treat every number by itself."""

from dataclasses import dataclass
from math import prod

from batchgrad_workers.activations import Activation
from batchgrad_workers.arrays import Array, Shape
from batchgrad_workers.layers.protocol import Parameterless, Parameters


@dataclass(frozen=True)
class Flatten(Parameterless):
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
        del parameters, outputs
        return error.reshape(inputs.shape)


@dataclass(frozen=True)
class Elementwise(Parameterless):
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
