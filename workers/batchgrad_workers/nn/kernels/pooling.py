"""Pooling over windows: the largest number and the sum, and where the error goes.

Windows have no dilation here, and none lies in the padding alone.
"""

import numpy as np

from batchgrad_workers.arrays import Array
from batchgrad_workers.nn.kernels.im2col import Geometry, U, pixel_numbers, pixel_sums, seen
from batchgrad_workers.nn.kernels.jit import kernel

UNDILATED = {"dilation": 1}


def _max_pool(images: Array, geometry: Geometry) -> Array:
    return seen(images, geometry, -np.inf).max(axis=(4, 5))


def _max_pool_vjp(images: Array, geometry: Geometry, error: Array) -> Array:
    """The error of each window goes to its first largest pixel."""
    windows = seen(images, geometry, -np.inf)
    first = windows.reshape(*windows.shape[:4], -1).argmax(axis=4)[..., None]
    pixels = seen(pixel_numbers(images), geometry).reshape(*windows.shape[:4], -1)
    return pixel_sums(np.take_along_axis(pixels, first, axis=4), error, images)


def _sum_pool_vjp(error: Array, geometry: Geometry, below: Array) -> Array:
    pixels = seen(pixel_numbers(below), geometry)
    return pixel_sums(pixels, np.broadcast_to(error[..., None, None], pixels.shape), below)


@kernel("images (n, h, w, c), geometry -> outputs (n, y, x, c)", _max_pool, where=UNDILATED)
def max_pool(images: Array, geometry: Geometry, outputs: Array) -> None:
    """NaN is larger than any number."""
    kh, kw, sh, sw, ph, pw, _, _, down, across = geometry
    height, width, channels = images.shape[1:]
    for n in range(len(images)):
        outputs[n] = -np.inf
        for row in range(down):
            for i in range(kh):
                y = row * sh + i - ph
                for j in range(kw):
                    for column in range(across):
                        x = column * sw + j - pw
                        if 0 <= y < height and 0 <= x < width:
                            for c in range(channels):
                                a, z = images[n, U(y), U(x), c], outputs[n, row, column, c]
                                outputs[n, row, column, c] = np.maximum(z, a)  # without a branch


@kernel(
    "images (n, h, w, c), geometry, outputs (n, y, x, c), error (n, y, x, c) -> below (n, h, w, c)",
    _max_pool_vjp,
    where={**UNDILATED, "outputs": _max_pool},
)
def max_pool_vjp(
    images: Array, geometry: Geometry, outputs: Array, error: Array, below: Array
) -> None:
    """Route each window's error to the first pixel equal to its maximum (or NaN).

    It leaves 0 in the error, or NaN where the error is not finite.
    """
    kh, kw, sh, sw, ph, pw, _, _, down, across = geometry
    height, width, channels = images.shape[1:]
    zero = below.dtype.type(0)
    for n in range(len(images)):
        below[n] = zero
        for row in range(down):
            for i in range(kh):
                y = row * sh + i - ph
                for j in range(kw):
                    for column in range(across):
                        x = column * sw + j - pw
                        if 0 <= y < height and 0 <= x < width:
                            for c in range(channels):
                                a, left = images[n, U(y), U(x), c], error[n, row, column, c]
                                is_largest = a == outputs[n, row, column, c] or np.isnan(a)
                                routed = left if is_largest else zero
                                below[n, U(y), U(x), c] += routed
                                error[n, row, column, c] = left - routed  # without a branch


@kernel(
    "images (n, h, w, c), geometry -> outputs (n, y, x, c)",
    lambda images, geometry: seen(images, geometry).sum(axis=(4, 5)),
    where=UNDILATED,
)
def sum_pool(images: Array, geometry: Geometry, outputs: Array) -> None:
    """The sum of each window, padding counted as zeros."""
    kh, kw, sh, sw, ph, pw, _, _, down, across = geometry
    height, width, channels = images.shape[1:]
    for n in range(len(images)):
        outputs[n] = 0
        for row in range(down):
            for i in range(kh):
                y = row * sh + i - ph
                for j in range(kw):
                    for column in range(across):
                        x = column * sw + j - pw
                        if 0 <= y < height and 0 <= x < width:
                            for c in range(channels):
                                outputs[n, row, column, c] += images[n, U(y), U(x), c]


@kernel("error (n, y, x, c), geometry -> below (n, h, w, c)", _sum_pool_vjp, where=UNDILATED)
def sum_pool_vjp(error: Array, geometry: Geometry, below: Array) -> None:
    """Every pixel's sum of the errors of the windows that see it."""
    kh, kw, sh, sw, ph, pw, _, _, down, across = geometry
    height, width, channels = below.shape[1:]
    for n in range(len(below)):
        below[n] = 0
        for row in range(down):
            for i in range(kh):
                y = row * sh + i - ph
                for j in range(kw):
                    for column in range(across):
                        x = column * sw + j - pw
                        if 0 <= y < height and 0 <= x < width:
                            for c in range(channels):
                                below[n, U(y), U(x), c] += error[n, row, column, c]
