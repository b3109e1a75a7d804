"""A network on inputs of a known shape: its layers, and the slice of θ for each parameter.

θ is one flat vector, in layer order; layers see views of it. Names are PyTorch's for
torch.nn.Sequential: "0.weight", "0.bias", "2.weight", …
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from batchgrad.contract import Model, Precision
from batchgrad_workers.arrays import Array, Keys, Shape
from batchgrad_workers.digests import digest
from batchgrad_workers.nn.layers import Layer, Parameters, ShapeMismatch, make_layer
from batchgrad_workers.nn.layers.base import KEYS
from batchgrad_workers.nn.layers.embedding import Embedding
from batchgrad_workers.randomness import derived, generator


class LayerMismatch(ShapeMismatch):
    """Layer number `layer` does not accept the output of the layer below."""

    def __init__(self, layer: int, reason: str) -> None:
        super().__init__(reason)
        self.layer = layer


@dataclass(frozen=True)
class ParameterSlice:
    """One parameter's slice of θ."""

    name: str
    layer: int
    local_name: str
    shape: Shape
    start: int

    @property
    def size(self) -> int:
        """Its number of elements."""
        return prod(self.shape)


class Network:
    """Layers bound to an input shape; holds no parameters."""

    def __init__(self, model: Model, input_shape: Shape) -> None:
        """Bind `model` to inputs of `input_shape` (one example's, without the axis n).

        Raises:
            LayerMismatch: a layer does not accept the output of the layer below.
        """
        self.input_shape = input_shape
        self.layers: list[Layer] = []
        self.slices: list[ParameterSlice] = []
        self.size = 0
        shape = input_shape
        for index, spec in enumerate(model.layers):
            try:
                layer = make_layer(spec, shape, first=not index)
            except ShapeMismatch as mismatch:
                raise LayerMismatch(index, str(mismatch)) from None
            self.layers.append(layer)
            for local_name, parameter_shape in layer.parameter_shapes.items():
                each = ParameterSlice(
                    f"{index}.{local_name}", index, local_name, parameter_shape, self.size
                )
                self.slices.append(each)
                self.size += each.size
            shape = layer.output_shape
        self.output_shape = shape
        self._bounds = [
            (
                each.layer,
                each.local_name,
                each.start,
                each.start + each.size,
                each.shape,
            )
            for each in self.slices
        ]
        self.learning = [k for k, layer in enumerate(self.layers) if layer.parameter_shapes]
        self.draws = any(layer.draws for layer in self.layers)

    @property
    def takes_ids(self) -> bool:
        """Whether inputs are integer ids of an embedding."""
        return isinstance(self.layers[0], Embedding)

    @property
    def outputs(self) -> int:
        """Numbers per example that the loss receives."""
        return prod(self.output_shape)

    def views(self, flat: Array) -> list[Parameters]:
        """One mapping per layer, local name to a view of `flat` (P,) in its shape."""
        views: list[dict[str, Array]] = [{} for _ in self.layers]
        for layer, local_name, start, stop, shape in self._bounds:
            views[layer][local_name] = flat[start:stop].reshape(shape)
        return list(views)

    def drawing(self, views: Sequence[Parameters], keys: Keys | None) -> Sequence[Parameters]:
        """`views`, and keys of its own for each layer that draws; `keys` (n,) are the examples'."""
        if keys is None or not self.draws:
            return views
        return [
            {**own, KEYS: derived(keys, k)} if self.layers[k].draws else own
            for k, own in enumerate(views)
        ]

    def named(self, flat: Array) -> dict[str, Array]:
        """Full names to views of `flat` (P,), in layer order."""
        return {
            each.name: flat[each.start : each.start + each.size].reshape(each.shape)
            for each in self.slices
        }

    def flat(self, named: Mapping[str, Array]) -> Array:
        """θ (P,), a new array, from the result of `named`."""
        return np.concatenate([named[each.name].ravel() for each in self.slices])

    def initial_parameters(self, seed: int, precision: Precision) -> Array:
        """Initial θ (P,) as in PyTorch, drawn in float64."""
        random = generator(seed, "parameters")
        flat = np.empty(self.size)
        for layer, out in zip(self.layers, self.views(flat), strict=True):
            for name, parameter in layer.initial(random).items():
                out[name][...] = parameter
        return flat.astype(precision)

    def forward(self, views: Sequence[Parameters], inputs: Array) -> list[Array]:
        """The input of every layer, then the network's output, each (n, …)."""
        activations = [inputs]
        for layer, parameters in zip(self.layers, views, strict=True):
            activations.append(layer.forward(parameters, activations[-1]))
        return activations

    def digest(self, flat: Array) -> str:
        """SHA-256 over name, dtype, shape and little-endian bytes of each parameter, in order."""
        return digest(self.named(flat))
