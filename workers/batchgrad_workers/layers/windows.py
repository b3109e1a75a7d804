"""Windows over images: which pixels a kernel sees at each place, and the way back.

Inside, images are (n, height, width, channels): a pixel's channels lie side by side in memory, and
so do the pixels of a window's row, which makes copying windows a matter of long runs. Layers give
such arrays on as views (n, channels, height, width), and elementwise functions keep the order.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from batchgrad_workers.arrays import Array, Shape

Pair = tuple[int, int]


def pair(sides: int | Pair) -> Pair:
    """One number for both sides, or (height, width)."""
    return (sides, sides) if isinstance(sides, int) else sides


def channels_last(images: Array) -> Array:
    """(n, channels, height, width) as (n, height, width, channels): a view."""
    return images.transpose(0, 2, 3, 1)


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

    def frames(
        self, images: int, dtype: np.dtype, fill: float = 0.0, by_channel: bool = False
    ) -> tuple[Array, Array]:
        """Room for images with `fill` around them, and the view to put them in.

        Shapes (n, padded height, padded width, channels) and (n, channels, height, width); in
        memory a pixel's channels, or with `by_channel` a channel's pixels, lie side by side.
        """
        channels, height, width = self.padded_shape
        if by_channel:
            padded = channels_last(np.full((images, channels, height, width), fill, dtype))
        else:
            padded = np.full((images, height, width, channels), fill, dtype)
        (ph, pw), (_, height, width) = self.padding, self.input_shape
        return padded, channels_first(padded[:, ph : ph + height, pw : pw + width])

    def look(self, padded: Array) -> Array:
        """A view (n, down, across, kernel height, kernel width, channels) of padded images."""
        (kh, kw), (dh, dw), (sh, sw) = self.kernel, self.dilation, self.stride
        spans = (dh * (kh - 1) + 1, dw * (kw - 1) + 1)
        seen = sliding_window_view(padded, spans, axis=(1, 2))
        return seen[:, ::sh, ::sw, :, ::dh, ::dw].transpose(0, 1, 2, 4, 5, 3)

    def offsets(self) -> Iterator[tuple[slice, slice]]:
        """For each kernel place, row by row: the padded pixels that it meets, down and across."""
        (sh, sw), (dh, dw), (down, across) = self.stride, self.dilation, self.places
        for row in range(self.kernel[0]):
            for column in range(self.kernel[1]):
                rows = slice(row * dh, row * dh + sh * (down - 1) + 1, sh)
                columns = slice(column * dw, column * dw + sw * (across - 1) + 1, sw)
                yield rows, columns

    def spread(self, shares: Iterable[Array], below: Array) -> None:
        """Write what each kernel place's shares (n, down, across, channels) add up to, by pixel.

        `below` is (n, height, width, channels); one share for each of `offsets`.
        """
        if self._tiles:
            for met, share in zip(self.offsets(), shares, strict=True):
                below[:, *met] = share
            return
        images, inside = self.frames(len(below), below.dtype)
        for met, share in zip(self.offsets(), shares, strict=True):
            images[:, *met] += share
        channels_first(below)[...] = inside

    @property
    def _tiles(self) -> bool:
        """Whether every pixel lies in exactly one window."""
        (kh, kw), (down, across) = self.kernel, self.places
        covered = (self.input_shape[0], down * kh, across * kw)
        return self.padding == (0, 0) and self.stride == self.kernel and covered == self.input_shape
