"""Convolution and pooling against explicit loops over windows; images in any order of memory."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from batchgrad_workers.arrays import Array
from batchgrad_workers.nn.activations import relu
from batchgrad_workers.nn.kernels.pooling import max_pool, max_pool_vjp
from batchgrad_workers.nn.layers.base import weighted_sum
from batchgrad_workers.nn.layers.conv import Conv2d
from batchgrad_workers.nn.layers.elementwise import Flatten
from batchgrad_workers.nn.layers.pooling import AvgPool2d, MaxPool2d
from batchgrad_workers.nn.layers.windows import Windows

Place = tuple[int, int]
WINDOWS = [
    Windows((6, 5, 4), (3, 3), (1, 1), (1, 1)),  # 18 numbers in a window's row
    Windows((4, 5, 6), (2, 3), (1, 1), (0, 0)),  # 12
    Windows((24, 5, 4), (3, 2), (1, 2), (2, 1), (1, 2)),  # two times 12 or more apart
    Windows((8, 2, 2), (3, 4), (1, 2), (5, 5), (2, 1)),  # whole rows in the padding
    Windows((6, 7, 6), (3, 3), (2, 1), (1, 2), (1, 2)),
    Windows((6, 6, 3), (2, 3), (1, 2), (1, 0), (3, 1)),
    Windows((16, 3, 4), (1, 1), (1, 1), (0, 0)),
    Windows((2, 4, 6), (2, 3), (2, 3), (0, 0)),  # tiles
    Windows((2, 6, 6), (3, 3), (3, 3), (1, 1)),  # as many windows as tiles, but not in their place
    Windows((2, 5, 7), (2, 2), (2, 2), (0, 0)),  # tiles but for one row and one column
    Windows((2, 3, 3), (2, 2), (3, 3), (0, 0)),  # pixels between windows
]


def drawn(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).normal(size=shape)


def looks(windows: Windows) -> Iterator[tuple[Place, list[tuple[Place, Place]]]]:
    """Each place with the pixels in its window: (row and column in the kernel, in the image)."""
    (down, across), (ph, pw) = windows.output_size, windows.padding
    for y, x in np.ndindex(down, across):
        met: list[tuple[Place, Place]] = []
        for row, column in np.ndindex(*windows.kernel):
            i = y * windows.stride[0] + row * windows.dilation[0] - ph
            j = x * windows.stride[1] + column * windows.dilation[1] - pw
            if 0 <= i < windows.input_shape[1] and 0 <= j < windows.input_shape[2]:
                met.append(((row, column), (i, j)))
        yield (y, x), met


def layouts(images: Array) -> list[Array]:
    """The same images in two memory layouts: channels first and channels last."""
    return [images, images.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)]


@pytest.mark.parametrize("windows", WINDOWS, ids=str)
@pytest.mark.parametrize(("groups", "bias"), [(1, True), (2, True), (2, False)])
def test_a_convolution_is_that_of_explicit_loops(windows: Windows, groups: int, bias: bool) -> None:
    layer = Conv2d(windows, 4, groups, bias)
    own = {name: drawn(*shape) for name, shape in layer.parameter_shapes.items()}
    inputs, error = drawn(5, *windows.input_shape), drawn(5, *layer.output_shape)
    weights = np.array([1.0, 0.0, 2.0, 3.0, 0.5])
    outputs, below = np.zeros((5, *layer.output_shape)), np.zeros(inputs.shape)
    each = {name: np.zeros((5, *value.shape)) for name, value in own.items()}
    if bias:
        outputs += own["bias"][:, None, None]
        each["bias"] += error.sum(axis=(2, 3))
    channels = windows.input_shape[0] // groups
    for (y, x), met in looks(windows):
        for out in range(4):
            seen = slice(out // (4 // groups) * channels, (out // (4 // groups) + 1) * channels)
            for (row, column), (i, j) in met:
                used = own["weight"][out, :, row, column]
                delta = error[:, out, y, x, None]
                outputs[:, out, y, x] += inputs[:, seen, i, j] @ used
                below[:, seen, i, j] += delta * used
                each["weight"][:, out, :, row, column] += delta * inputs[:, seen, i, j]
    rows = np.concatenate([value.reshape(5, -1) for value in each.values()], axis=1)

    for images in layouts(inputs):
        for errors in layouts(error):
            into = {name: np.full(value.shape, np.nan) for name, value in own.items()}
            norms = layer.gradient_sums(images, errors, weights, into)
            found = layer.each_gradient(images, errors)

            assert_allclose(layer.forward(own, images), outputs, rtol=1e-10, atol=1e-10)
            back = layer.backward(own, images, outputs, errors)
            assert_allclose(back, below, rtol=1e-10, atol=1e-10)
            assert_allclose(norms, np.square(rows).sum(axis=1), rtol=1e-10)
            for name, value in each.items():
                assert_allclose(found[name], value, rtol=1e-10, atol=1e-10)
                summed = np.tensordot(weights, value, 1)
                assert_allclose(into[name], summed, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("windows", [own for own in WINDOWS if own.dilation == (1, 1)], ids=str)
@pytest.mark.parametrize("kind", [MaxPool2d, AvgPool2d])
def test_a_pool_is_that_of_explicit_loops(kind: Any, windows: Windows) -> None:
    layer = kind(windows)
    inputs = np.round(drawn(5, *windows.input_shape))  # with equal numbers in many windows
    error = drawn(5, *layer.output_shape)
    outputs, below = np.zeros((5, *layer.output_shape)), np.zeros(inputs.shape)
    size = windows.kernel[0] * windows.kernel[1]
    for n, channel in np.ndindex(*inputs.shape[:2]):
        for (y, x), met in looks(windows):
            pixels = [(n, channel, i, j) for _, (i, j) in met]
            if kind is MaxPool2d:
                first = max(pixels, key=lambda pixel: inputs[pixel])
                outputs[n, channel, y, x] = inputs[first]
                below[first] += error[n, channel, y, x]
            else:
                for pixel in pixels:
                    outputs[n, channel, y, x] += inputs[pixel] / size
                    below[pixel] += error[n, channel, y, x] / size

    for images in layouts(inputs):
        for errors in layouts(error):
            found = layer.forward({}, images)
            assert_allclose(found, outputs, rtol=1e-12, atol=1e-12)
            back = layer.backward({}, images, found, errors)
            assert_allclose(back, below, rtol=1e-12, atol=1e-12)


def test_what_stands_between_images_keeps_their_order_of_memory() -> None:
    """Mixed layouts would take up to six times as long."""
    first, last = layouts(drawn(3, 4, 5, 2))
    for images in (first, last):
        flatten = Flatten((4, 5, 2))

        outputs = flatten.forward({}, images)
        below = flatten.backward({}, images, outputs, outputs * 2)
        positive = relu().forward(images)

        assert outputs.tolist() == first.reshape(3, -1).tolist()
        assert below.tolist() == (first * 2).tolist()
        assert positive.tolist() == np.maximum(first, 0).tolist()
        assert below.strides == positive.strides == images.strides


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 2, 3, 1), (0, 3, 1, 2), (1, 2, 3, 0)])
def test_weighted_sums_whatever_the_order_of_memory(axes: tuple[int, ...]) -> None:
    rows, weights = drawn(3, 4, 5, 2), np.array([1.0, 0.0, 2.5])
    stored = rows.transpose(axes).copy().transpose(np.argsort(axes))
    into = np.full((4, 5, 2), np.nan)

    weighted_sum(weights, stored, into)

    assert_allclose(into, np.einsum("n,nchw->chw", weights, rows), rtol=1e-13)


@pytest.mark.parametrize("pixel", range(4))
def test_nan_is_the_largest_number_of_a_window(pixel: int) -> None:
    """Else an example that is not finite would pass as finite."""
    images = np.arange(4.0).reshape(1, 2, 2, 1)
    images.reshape(-1)[pixel] = np.nan
    geometry = Windows((1, 2, 2), (2, 2), (2, 2), (0, 0), (1, 1)).geometry
    outputs, below = np.empty((1, 1, 1, 1)), np.empty((1, 2, 2, 1))
    max_pool(images, geometry, outputs)
    assert np.isnan(outputs).all()
    max_pool_vjp(images, geometry, outputs, np.ones((1, 1, 1, 1)), below)
    assert below.reshape(-1).tolist() == [float(k == pixel) for k in range(4)]
