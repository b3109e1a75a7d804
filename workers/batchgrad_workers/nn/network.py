"""A network on inputs of a known shape: its layers, and the slice of θ for each parameter.

θ is one flat vector, in layer order; layers see views of it. Names are PyTorch's for
torch.nn.Sequential: "0.weight", "0.bias", "2.weight", …

A residual block's layers stand in the same row, "3.0", "3.1", …; after them stands "3", the sum.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from batchgrad import contract
from batchgrad.contract import Model, Precision
from batchgrad.contract.model import SingleLayer
from batchgrad_workers.arrays import Array, Keys, Shape
from batchgrad_workers.nn.activations import identity
from batchgrad_workers.nn.layers import Layer, Parameters, ShapeMismatch, make_layer
from batchgrad_workers.nn.layers.base import KEYS
from batchgrad_workers.nn.layers.elementwise import Elementwise
from batchgrad_workers.nn.layers.embedding import Embedding
from batchgrad_workers.parameters import ParameterLayout, ParameterSlice
from batchgrad_workers.randomness import derived, generator


class LayerMismatch(ShapeMismatch):
    """A layer does not accept the output of the layer below.

    `place` is its number, after those of the residual blocks around it.
    """

    def __init__(self, place: tuple[int, ...], reason: str) -> None:
        super().__init__(reason)
        self.place = place


class Views(Sequence[Parameters]):
    """One mapping per layer, local name to a view of `flat` (P,) in its shape; made when needed."""

    def __init__(self, make: Callable[[Array], list[Parameters]], flat: Array) -> None:
        """`flat` is kept read-only, so that compiled code sees one kind of array."""
        self.flat = flat.view()
        self.flat.flags.writeable = False
        self._make, self._of = make, flat

    @cached_property
    def _views(self) -> list[Parameters]:
        return self._make(self._of)

    def __getitem__(self, layer: Any) -> Any:
        return self._views[layer]

    def __len__(self) -> int:
        return len(self._views)


class Network(ParameterLayout):
    """Layers bound to an input shape; holds no parameters.

    `names` and `kinds` are the layers'. `skips` has, for each sum at the end of a residual block,
    the first layer of the block, whose input it adds.
    """

    def __init__(self, model: Model, input_shape: Shape) -> None:
        """Bind `model` to inputs of `input_shape` (one example's, without the axis n).

        Raises:
            LayerMismatch: a layer does not accept the output of the layer below.
        """
        self.input_shape = input_shape
        self.layers: list[Layer] = []
        self.kinds: list[str] = []
        self.skips: dict[int, int] = {}
        names, slices = list[str](), list[ParameterSlice]()
        self.output_shape = self._append(model.layers, input_shape, (), names, slices)
        super().__init__(names, slices)
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
        self.draws = any(layer.draws for layer in self.layers)

    def _append(
        self,
        specs: Sequence[contract.Layer],
        shape: Shape,
        block: tuple[int, ...],
        names: list[str],
        slices: list[ParameterSlice],
    ) -> Shape:
        """Append layers that take `shape`; return the shape that the last one gives."""
        for number, spec in enumerate(specs):
            place = (*block, number)
            if isinstance(spec, contract.Residual):
                layer = self._sum(spec, shape, place, names, slices)
            else:
                layer = self._made(spec, shape, place)
            index, name = len(self.layers), ".".join(map(str, place))
            self.layers.append(layer)
            names.append(name)
            self.kinds.append(spec.kind)
            for local, own_shape in layer.parameter_shapes.items():
                start = slices[-1].start + slices[-1].size if slices else 0
                slices.append(ParameterSlice(f"{name}.{local}", index, local, own_shape, start))
            shape = layer.output_shape
        return shape

    def _sum(
        self,
        spec: contract.Residual,
        shape: Shape,
        place: tuple[int, ...],
        names: list[str],
        slices: list[ParameterSlice],
    ) -> Layer:
        """Append the layers of a residual block; return the sum at its end."""
        begin = len(self.layers)
        found = self._append(spec.layers, shape, place, names, slices)
        if found != shape:
            raise LayerMismatch(
                place,
                f"residual adds its input, of shape {list(shape)}, to what its layers make of it, "
                f"of shape {list(found)}: let the last of them give {list(shape)}.",
            )
        self.skips[len(self.layers)] = begin
        return Elementwise(shape, identity())

    @staticmethod
    def _made(spec: SingleLayer, shape: Shape, place: tuple[int, ...]) -> Layer:
        try:
            return make_layer(spec, shape, first=place == (0,))
        except ShapeMismatch as mismatch:
            raise LayerMismatch(place, str(mismatch)) from None

    @property
    def takes_ids(self) -> bool:
        """Whether inputs are integer ids of an embedding."""
        return isinstance(self.layers[0], Embedding)

    @property
    def outputs(self) -> int:
        """Numbers per example that the loss receives."""
        return prod(self.output_shape)

    def views(self, flat: Array) -> Views:
        """The parameters of each layer in `flat` (P,)."""
        return Views(self._views, flat)

    def _views(self, flat: Array) -> list[Parameters]:
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
        for k, (layer, parameters) in enumerate(zip(self.layers, views, strict=True)):
            outputs = layer.forward(parameters, activations[-1])
            if k in self.skips:
                outputs = outputs + activations[self.skips[k]]
            activations.append(outputs)
        return activations

    def backward(
        self, k: int, error: Array, skipped: dict[int, Array], vjp: Callable[[Array], Array]
    ) -> Array:
        """The error at layer k's input, from that at its output and the layer's `vjp` of it.

        `skipped` keeps, by a block's first layer, the errors that pass the block by.
        """
        begin = self.skips.get(k)
        if begin is not None:
            skipped[begin] = error + skipped[begin] if begin in skipped else error
        below = vjp(error)
        return below + skipped.pop(k) if k in skipped else below
