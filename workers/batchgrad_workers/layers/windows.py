"""Windows over images: which pixels a kernel sees at each place, and the way back."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from batchgrad_workers.arrays import Array, Shape

Pair = tuple[int, int]


def pair(sides: int | Pair) -> Pair:
    """One number for both sides, or (height, width)."""
    return (sides, sides) if isinstance(sides, int) else sides


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

    def look(self, images: Array, fill: float = 0.0) -> Array:
        """A view (n, channels, kernel height, kernel width, down, across) of padded images."""
        (kh, kw), (dh, dw), (sh, sw) = self.kernel, self.dilation, self.stride
        padded = self._pad(images, fill)
        spans = (dh * (kh - 1) + 1, dw * (kw - 1) + 1)
        seen = sliding_window_view(padded, spans, axis=(2, 3))
        return seen[:, :, ::sh, ::sw, ::dh, ::dw].transpose(0, 1, 4, 5, 2, 3)

    def offsets(self) -> Iterator[tuple[int, int, tuple[slice, slice]]]:
        """For each kernel place (row, column): the padded pixels that it meets, as slices."""
        (sh, sw), (dh, dw), (down, across) = self.stride, self.dilation, self.places
        for row in range(self.kernel[0]):
            for column in range(self.kernel[1]):
                rows = slice(row * dh, row * dh + sh * (down - 1) + 1, sh)
                columns = slice(column * dw, column * dw + sw * (across - 1) + 1, sw)
                yield row, column, (rows, columns)

    def padded_zeros(self, images: int, dtype: np.dtype) -> Array:
        """Room for gradients of padded images."""
        return np.zeros((images, *self.padded_shape), dtype)

    def crop(self, padded: Array) -> Array:
        """Padded images without their padding."""
        (ph, pw), (_, height, width) = self.padding, self.input_shape
        return padded[:, :, ph : ph + height, pw : pw + width]

    def _pad(self, images: Array, fill: float) -> Array:
        (ph, pw) = self.padding
        if not ph and not pw:
            return images
        return np.pad(images, ((0, 0), (0, 0), (ph, ph), (pw, pw)), constant_values=fill)
