"""im2col and col2im: the patches of images that windows see, and the way back."""

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from batchgrad_workers.arrays import Array
from batchgrad_workers.nn.kernels.jit import kernel

U = np.uintp
"""Unsigned index type. Signed indices can be negative, which keeps LLVM from vectorising."""

Geometry = tuple[int, ...]
"""Kernel, stride, padding, dilation, output size: two numbers each, down and across."""


def seen(images: Array, geometry: Geometry, padding: float = 0) -> Array:
    """What each window sees of images (n, h, w, c), as (n, y, x, c, kernel height and width)."""
    kh, kw, sh, sw, ph, pw, dh, dw, _, _ = geometry
    padded = np.pad(images, ((0, 0), (ph, ph), (pw, pw), (0, 0)), constant_values=padding)
    spans = dh * (kh - 1) + 1, dw * (kw - 1) + 1
    return sliding_window_view(padded, spans, axis=(1, 2))[:, ::sh, ::sw, :, ::dh, ::dw]


def pixel_sums(pixels: Any, values: Array, images: Array) -> Any:
    """Values added up at every pixel, in the shape of `images`; pixels from 1, padding is 0."""
    size = images.size + 1
    return np.bincount(pixels.ravel(), values.ravel(), size)[1:].reshape(images.shape)


def pixel_numbers(images: Array) -> Any:
    """1, 2, … in the shape of `images`."""
    return np.arange(1, images.size + 1).reshape(images.shape)


def _im2col(images: Array, geometry: Geometry, patches: Array, rest: int = 1) -> Array:
    """(g, n, t, k): row by row, pixel by pixel, the group's channels; then `rest`."""
    groups, n, positions, size = patches.shape
    windows = seen(images, geometry)
    grouped = windows.reshape(n, positions, groups, -1, *windows.shape[4:])
    found = grouped.transpose(2, 0, 1, 4, 5, 3).reshape(groups, n, positions, -1)
    return np.pad(found, [(0, 0)] * 3 + [(0, size - found.shape[3])], constant_values=rest)


def _col2im(patches: Array, geometry: Geometry, images: Array) -> Array:
    """The sum of the patches' numbers at every pixel."""
    pixels = _im2col(pixel_numbers(images), geometry, patches, 0)
    return pixel_sums(pixels, patches, images)


@kernel(
    "images (n, h, w, c), geometry -> patches (g, n, y*x, k)",
    _im2col,
    where={"patches": lambda patches: np.zeros_like(patches)},
)
def im2col(images: Array, geometry: Geometry, patches: Array) -> None:
    """Write what each window sees into `patches`, which must hold zeros where padding is.

    Numbers are row by row, pixel by pixel, the group's channels; the rest of a patch becomes 1.
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


def _seen_from(image: Array, geometry: Geometry, top: int, left: int, seen_by: Array) -> Array:
    _, _, sh, sw, *_ = geometry
    places = np.arange(len(seen_by)) * sh + top, np.arange(seen_by.shape[1]) * sw + left
    rows, columns = (
        np.where((at >= 0) & (at < size), at, size)
        for at, size in zip(places, image.shape, strict=True)
    )
    return np.pad(image, (0, 1))[np.ix_(rows, columns)]


@kernel(
    "image (h, w), geometry, top, left -> seen_by (y, x)",
    _seen_from,
    where={"top": lambda image: 2 - len(image), "left": lambda image: 2 - image.shape[1] // 2},
)
def seen_from(image: Array, geometry: Geometry, top: int, left: int, seen_by: Array) -> None:
    """Write the pixel (y·sh + top, x·sw + left) to each (y, x), or 0 where there is none."""
    _, _, sh, sw, _, _, _, _, down, across = geometry
    (height, width), zero = image.shape, image.dtype.type(0)
    first = min(max(0, -(left // sw)), across)
    last = max(first, min((width - 1 - left) // sw + 1, across))
    for row in range(down):
        y = row * sh + top
        inside = 0 <= y < height
        for x in range(first if inside else across):
            seen_by[row, U(x)] = zero
        for x in range(last if inside else across, across):
            seen_by[row, U(x)] = zero
        if inside and sw == 1:
            for x in range(last - first):
                seen_by[row, U(first + x)] = image[U(y), U(first + left + x)]
        elif inside:
            for x in range(first, last):
                seen_by[row, U(x)] = image[U(y), U(x * sw + left)]


@kernel(
    "images (n, c, h, w), geometry -> patches (g, k, n, y*x)",
    lambda images, geometry, patches: _im2col(
        images.transpose(0, 2, 3, 1), geometry, patches.transpose(0, 2, 3, 1)
    ).transpose(0, 3, 1, 2),
)
def im2col_by_number(images: Array, geometry: Geometry, patches: Array) -> None:
    """`im2col` with channels before pixels, numbers before positions; writes padding too."""
    kh, kw, _, _, ph, pw, dh, dw, down, across = geometry
    channels = images.shape[1] // len(patches)
    for g in range(len(patches)):
        for n in range(len(images)):
            at = 0
            for i in range(kh):
                for j in range(kw):
                    for c in range(channels):
                        image = images[n, U(g * channels + c)]
                        seen_by = patches[g, U(at), n].reshape(down, across)
                        seen_from(image, geometry, i * dh - ph, j * dw - pw, seen_by)
                        at += 1
            patches[g, at:, n] = 1


@kernel("patches (g, n, y*x, k), geometry -> images (n, h, w, c)", _col2im)
def col2im(patches: Array, geometry: Geometry, images: Array) -> None:
    """Write the sum of the patches' numbers at every pixel."""
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
