"""Windows over images: which pixels a kernel sees at each place, and the way back.

Inside, images are (n, height, width, channels), a pixel's channels side by side in memory. Layers
give such arrays on as views (n, channels, height, width), and elementwise functions keep the order.
"""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from batchgrad_workers.arrays import Array, Shape
from batchgrad_workers.nn.kernels.jit import compiled
from batchgrad_workers.nn.kernels.norms import RUN

Pair = tuple[int, int]
U = np.uintp
"""Of an index: it can't count from the end, which would keep a loop from the CPU's vectors."""

Geometry = tuple[int, ...]
"""Kernel, stride, padding, dilation, places: two numbers each, down and across."""


def pair(sides: int | Pair) -> Pair:
    """One number for both sides, or (height, width)."""
    return (sides, sides) if isinstance(sides, int) else sides


def channels_last(images: Array) -> Array:
    """(n, channels, height, width) as (n, height, width, channels), one after the other in memory.

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

    @property
    def places(self) -> Pair:
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
        """Of sums over a window: float64 for many numbers, which would lose digits in `dtype`."""
        return np.dtype(np.float64) if prod(self.kernel) > RUN else dtype

    @property
    def geometry(self) -> Geometry:
        """All that the loops below must know beside shapes."""
        return (*self.kernel, *self.stride, *self.padding, *self.dilation, *self.places)


@compiled
def look(images: Array, geometry: Geometry, patches: Array) -> None:
    """Write what every window sees into patches (groups, n, places, numbers).

    Numbers are row by row, pixel by pixel, the group's channels; what is left of a patch becomes 1.
    Padding isn't written: it is where it was for other images, and the room starts as zeros.
    Where pixels lie side by side, a whole row of the window is copied at once.
    """
    kh, kw, sh, sw, ph, pw, dh, dw, down, across = geometry
    height, width, channels = images.shape[1:]
    pixels, size = kw if dw == 1 and len(patches) == 1 else 1, channels // len(patches)
    rows = images.reshape(len(images), height, width * channels)
    for g in range(len(patches)):
        for n in range(len(images)):
            for row in range(down):
                at = 0
                for i in range(kh):
                    y = row * sh + i * dh - ph
                    for j in range(0, kw, pixels):
                        for column in range(across if 0 <= y < height else 0):
                            x, place = column * sw + j * dw - pw, row * across + column
                            start = x * channels + g * size
                            for k in range(max(0, -x) * size, min(pixels, width - x) * size):
                                patches[g, n, U(place), U(at + k)] = rows[n, U(y), U(start + k)]
                        at += pixels * size
            patches[g, n, :, at:] = 1


@compiled
def look_by_number(images: Array, geometry: Geometry, patches: Array) -> None:
    """The same from images (n, channels, height, width) into (groups, numbers, n, places).

    Padding is written as well.
    """
    kh, kw, sh, sw, ph, pw, dh, dw, down, across = geometry
    height, width = images.shape[2:]
    channels, zero = images.shape[1] // len(patches), images.dtype.type(0)
    for g in range(len(patches)):
        for n in range(len(images)):
            at = 0
            for i in range(kh):
                for j in range(kw):
                    for c in range(channels):
                        for row in range(down):
                            y = row * sh + i * dh - ph
                            for column in range(across):
                                x, place = column * sw + j * dw - pw, row * across + column
                                inside = 0 <= y < height and 0 <= x < width
                                a = images[n, U(g * channels + c), U(y), U(x)] if inside else zero
                                patches[g, U(at), n, U(place)] = a
                        at += 1
            patches[g, at:, n] = 1


@compiled
def spread(patches: Array, geometry: Geometry, images: Array) -> None:
    """Write what the numbers of patches (groups, n, places, numbers) add up to at every pixel."""
    kh, kw, sh, sw, ph, pw, dh, dw, down, across = geometry
    height, width, channels = images.shape[1:]
    pixels, size = kw if dw == 1 and len(patches) == 1 else 1, channels // len(patches)
    rows = images.reshape(len(images), height, width * channels)
    for n in range(len(images)):
        rows[n] = 0
        for g in range(len(patches)):
            for row in range(down):
                at = 0
                for i in range(kh):
                    y = row * sh + i * dh - ph
                    for j in range(0, kw, pixels):
                        for column in range(across if 0 <= y < height else 0):
                            x, place = column * sw + j * dw - pw, row * across + column
                            start = x * channels + g * size
                            for k in range(max(0, -x) * size, min(pixels, width - x) * size):
                                rows[n, U(y), U(start + k)] += patches[g, n, U(place), U(at + k)]
                        at += pixels * size
