"""How a convolution's kernel moves over images, and the gradients of its weight there."""

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

SMALL = 64
"""Numbers of a patch up to which a product of patches beats a convolution in n groups."""


@dataclass(frozen=True)
class Geometry:
    """How a kernel moves over its input, one number for each axis."""

    stride: list[int]
    padding: list[int]
    dilation: list[int]
    output_padding: list[int]
    groups: int
    transposed: bool

    def weight_gradient(self, inputs: Tensor, error: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The gradient of a weight of `shape`, summed over all examples (n, channels, …)."""
        return self._backward(inputs, error, shape, self.groups)

    def weight_gradients(self, inputs: Tensor, error: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The gradient of each example, (n, *shape): each is a group of one example's channels.

        Small patches are multiplied instead.
        """
        n = len(inputs)
        if prod(shape[1:]) <= SMALL and self.groups == 1 and not self.transposed:
            patches = self.patches(inputs, shape[2:], tuple(error.shape[2:]))[:, 0]
            return (patches @ error.flatten(2).mT).mT.reshape(n, *shape)
        inputs, error = (x.reshape(1, -1, *x.shape[2:]) for x in (inputs, error))
        all_rows = (n * shape[0], *shape[1:])
        return self._backward(inputs, error, all_rows, n * self.groups).view(n, *shape)

    def _backward(
        self, inputs: Tensor, error: Tensor, shape: tuple[int, ...], groups: int
    ) -> Tensor:
        found: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
            error,
            inputs,
            inputs.new_empty(shape),
            None,
            self.stride,
            self.padding,
            self.dilation,
            self.transposed,
            self.output_padding,
            groups,
            [False, True, False],
        )
        return found[1]

    def patches(self, inputs: Tensor, kernel: tuple[int, ...], places: tuple[int, ...]) -> Tensor:
        """What the kernel sees at each place, (n, groups, channels·kernel, L)."""
        margins = [margin for axis in reversed(self.padding) for margin in (axis, axis)]
        inputs = functional.pad(inputs, margins)
        n, channel, *axes = inputs.stride()
        offsets = [step * axis for step, axis in zip(self.dilation, axes, strict=True)]
        moves = [step * axis for step, axis in zip(self.stride, axes, strict=True)]
        shape = (*inputs.shape[:2], *kernel, *places)
        seen = inputs.as_strided(shape, (n, channel, *offsets, *moves))
        return seen.reshape(len(inputs), self.groups, -1, prod(places))


def of_examples(x: Tensor, count: int) -> Tensor:
    """(images, groups, j, L) with an example's images side by side: (n, groups, j, images·L)."""
    images = len(x) // count
    if images == 1:
        return x
    return x.unflatten(0, (count, images)).permute(0, 2, 3, 1, 4).flatten(3)
