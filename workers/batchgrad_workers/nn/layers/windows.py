"""Windows over images: kernel, stride, padding and dilation, and how many windows fit.

Inside, images are (n, height, width, channels), a pixel's channels side by side in memory. Layers
give such arrays on as views (n, channels, height, width), and elementwise functions keep the order.
"""

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from batchgrad_workers.arrays import Array, Shape
from batchgrad_workers.nn.kernels.im2col import Geometry
from batchgrad_workers.nn.kernels.norms import RUN

Pair = tuple[int, int]


def pair(sides: int | Pair) -> Pair:
    """One number for both sides, or (height, width)."""
    return (sides, sides) if isinstance(sides, int) else sides


def channels_last(images: Array) -> Array:
    """(n, channels, height, width) as (n, height, width, channels), contiguous in memory.

    A view of what a layer here gave, a copy of anything else.
    """
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1))


def channels_first(images: Array) -> Array:
    """The way back: (n, height, width, channels) as (n, channels, height, width), a view."""
    return images.transpose(0, 3, 1, 2)


@dataclass(frozen=True)
class Windows:
    """Kernel, stride, padding and dilation on images of one shape (channels, height, width)."""

    input_shape: Shape
    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair = (1, 1)

    @cached_property
    def output_size(self) -> Pair:
        """How many windows fit, down and across; not positive when none does."""
        spans = (d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True))
        sizes = zip(self.input_shape[1:], self.padding, spans, self.stride, strict=True)
        down, across = ((size + 2 * pad - span) // step + 1 for size, pad, span, step in sizes)
        return down, across

    @property
    def padded_shape(self) -> Shape:
        """Shape of an image with its padding."""
        channels, height, width = self.input_shape
        return channels, height + 2 * self.padding[0], width + 2 * self.padding[1]

    def sum_type(self, dtype: Any) -> Any:
        """Type of sums over a window: float64 for many numbers, to lose no digits."""
        return np.dtype(np.float64) if prod(self.kernel) > RUN else dtype

    @cached_property
    def geometry(self) -> Geometry:
        """What the compiled loops need beside shapes."""
        return (*self.kernel, *self.stride, *self.padding, *self.dilation, *self.output_size)
