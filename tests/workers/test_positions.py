"""Weights used at many positions: both ways to a norm, across several runs of examples."""

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from batchgrad_workers.arrays import Array
from batchgrad_workers.nn.chunks import CACHE_BYTES, CHUNK_BYTES, chunks
from batchgrad_workers.nn.kernels.norms import squared
from batchgrad_workers.nn.layers.conv import Conv2d
from batchgrad_workers.nn.layers.embedding import Embedding
from batchgrad_workers.nn.layers.outer_products import weight_sums
from batchgrad_workers.nn.layers.pooling import AvgPool2d, MaxPool2d
from batchgrad_workers.nn.layers.windows import Windows


def drawn(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).normal(size=shape)


def assert_sums(found: Array, into: Array, each: Array, weights: Array) -> None:
    """Σ w_n g_n and ‖g_n‖², against g_n (n, …) themselves."""
    explicit = each.reshape(len(each), -1)
    assert_allclose(found, np.square(explicit).sum(axis=1), rtol=1e-10)
    assert_allclose(into.ravel(), weights @ explicit, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("examples", "positions", "width", "outputs", "gram"),
    [
        (40, 2, 3, 4, True),
        (40, 2, 30, 40, True),
        (40, 3, 4, 4, False),
        (40, 9, 2, 3, False),
        (7, 300, 520, 400, True),  # 1.4 MB of Gram matrices an example: several runs
        (9, 400, 512, 512, False),  # 2 MB of gradients an example: several runs
    ],
)
def test_both_ways_to_a_norm(
    examples: int, positions: int, width: int, outputs: int, gram: bool
) -> None:
    inputs, error = drawn(examples, positions, width), drawn(examples, positions, outputs)
    weights = np.arange(examples) % 4.0
    into = np.full((outputs, width), np.nan)

    found = weight_sums(inputs, error, weights, into)

    each = error.transpose(0, 2, 1) @ inputs
    assert_sums(found, into, each, weights)
    if examples == 40:  # in one run: the two ways round differently
        assert (found.tolist() != squared(each.reshape(examples, -1)).tolist()) == gram


@pytest.mark.parametrize(
    ("image", "kernel", "out_channels", "groups", "examples"),
    [
        ((2, 3, 3), (3, 3), 4, 1, 5),  # one place: Gram
        ((8, 4, 3), (2, 2), 8, 1, 5),  # 6 places: Gram
        ((8, 4, 3), (2, 2), 8, 2, 5),  # of 2 groups: g_n
        ((8, 3, 3), (2, 2), 8, 2, 5),  # 4 places, 2 groups: Gram
        ((2, 6, 6), (2, 3), 4, 1, 5),  # 20 places: g_n
        ((64, 12, 12), (3, 3), 64, 1, 30),  # 0.7 MB an example by Gram matrices: several runs
        ((96, 8, 8), (3, 3), 96, 1, 60),  # 0.3 MB
    ],
)
def test_convolutions_by_both_ways(
    image: Any, kernel: Any, out_channels: int, groups: int, examples: int
) -> None:
    layer = Conv2d(Windows(image, kernel, (1, 1), (0, 0)), out_channels, groups, bias=True)
    inputs, error = drawn(examples, *image), drawn(examples, *layer.output_shape)
    weights = np.arange(examples) % 4.0
    into = {name: np.full(shape, np.nan) for name, shape in layer.parameter_shapes.items()}

    found = layer.gradient_sums(inputs, error, weights, into)

    each = layer.each_gradient(inputs, error)
    flat = np.concatenate([own.reshape(examples, -1) for own in each.values()], axis=1)
    assert_sums(found, np.concatenate([own.ravel() for own in into.values()]), flat, weights)


@pytest.mark.parametrize(
    ("image", "out_channels", "groups"),
    [((64, 12, 12), 32, 1), ((64, 12, 12), 32, 2), ((4, 48, 48), 6, 2)],  # the last by number
)
def test_large_convolutions_run_by_run_are_the_same_example_by_example(
    image: Any, out_channels: int, groups: int
) -> None:
    layer = Conv2d(Windows(image, (3, 3), (1, 1), (1, 1)), out_channels, groups, bias=True)
    inputs, error = drawn(17, *image), drawn(17, *layer.output_shape)
    own = {name: drawn(*shape) for name, shape in layer.parameter_shapes.items()}
    into = {name: np.empty(shape) for name, shape in layer.parameter_shapes.items()}

    outputs = layer.forward(own, inputs)
    below = layer.backward(own, inputs, outputs, error)
    norms = layer.gradient_sums(inputs, error, np.ones(17), into)
    rest = {name: total.copy() for name, total in into.items()}

    assert 17 * 9 * inputs[0].nbytes > CACHE_BYTES
    for n in range(17):
        one = slice(n, n + 1)
        alone = layer.forward(own, inputs[one])
        assert_allclose(outputs[one], alone, rtol=1e-10, atol=1e-10)
        back = layer.backward(own, inputs[one], alone, error[one])
        assert_allclose(below[one], back, rtol=1e-10, atol=1e-10)
        norm = layer.gradient_sums(inputs[one], error[one], np.ones(1), into)
        assert_allclose(norms[one], norm, rtol=1e-10)
        for name, own_gradient in into.items():
            rest[name] -= own_gradient
    for left in rest.values():
        assert_allclose(left, 0, atol=1e-9)


def test_of_equal_pixels_the_first_gets_the_error_and_padding_never() -> None:
    layer = MaxPool2d(Windows((1, 3, 3), (2, 2), (1, 1), (1, 1)))
    inputs = np.array([[[[-1.0, -1.0, -2.0], [-1.0, -1.0, -1.0], [0.0, 0.0, 0.0]]]])
    error = np.arange(1.0, 17.0).reshape(1, 1, 4, 4)

    outputs = layer.forward({}, inputs)
    below = layer.backward({}, inputs, outputs, error)

    assert outputs.tolist() == [[[[-1, -1, -1, -2], [-1, -1, -1, -1], [0, 0, 0, 0], [0, 0, 0, 0]]]]
    assert below.tolist() == [
        [[[1 + 2 + 5 + 6, 3 + 7, 4], [0, 0, 8], [9 + 10 + 13 + 14, 11 + 15, 12 + 16]]]
    ]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_goes_on_from_the_pixel_to_its_windows_and_back(dtype: str) -> None:
    layer = MaxPool2d(Windows((1, 2, 6), (2, 2), (2, 2), (0, 0)))
    images = [[[[1, np.nan, 0, 0, -np.inf, -np.inf], [np.nan, 9, 2, 0, -np.inf, -np.inf]]]]
    inputs: Array = np.array(images, dtype)
    error = np.array([[[[3, np.nan, 5]]]], dtype)

    outputs = layer.forward({}, inputs)
    below = layer.backward({}, inputs, outputs, error)

    np.testing.assert_array_equal(outputs, [[[[np.nan, 2, -np.inf]]]])
    np.testing.assert_array_equal(below, [[[[0, 3, 0, 0, 5, 0], [0, 0, np.nan, 0, 0, 0]]]])
    assert outputs.dtype == below.dtype == dtype


def test_an_embedding_s_error_at_one_hot_rows_is_that_of_a_linear_layer() -> None:
    layer, weight, error = Embedding((4,), 3, 2, None), drawn(3, 2), drawn(5, 4, 2)

    below = layer.backward({"weight": weight}, drawn(5, 4, 3), drawn(5, 4, 2), error)

    assert_allclose(below, np.einsum("ntd,vd->ntv", error, weight), rtol=1e-13)


@pytest.mark.parametrize(
    ("kernel", "padding"),
    [((3, 2), (1, 1)), ((2, 2), (0, 0))],  # windows that overlap, and tiles
)
@pytest.mark.parametrize("kind", [MaxPool2d, AvgPool2d])
def test_large_pools_run_by_run_are_the_same_example_by_example(
    kind: type[MaxPool2d | AvgPool2d], kernel: Any, padding: Any
) -> None:
    layer = kind(Windows((32, 30, 30), kernel, (2, 2), padding))
    inputs, error = np.round(drawn(20, 32, 30, 30)), drawn(20, *layer.output_shape)

    outputs = layer.forward({}, inputs)
    below = layer.backward({}, inputs, outputs, error)

    assert 20 * 2 * inputs[0].nbytes > CACHE_BYTES
    for n in range(20):
        one = slice(n, n + 1)
        alone = layer.forward({}, inputs[one])
        back = layer.backward({}, inputs[one], alone, error[one])
        assert_allclose(outputs[one], alone, rtol=1e-12, atol=1e-12)
        assert_allclose(below[one], back, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", ["int64", "uint8", "int32", "uint64"])
@pytest.mark.parametrize("padding", [None, 0, 2])
def test_repeated_ids_are_added_before_squaring(padding: int | None, dtype: str) -> None:
    layer = Embedding((4,), 3, 2, padding)
    ids: Any = np.array([[1, 1, 1, 0], [2, 1, 2, 0]]).astype(dtype)
    error = np.ones((2, 4, 2))
    into = {"weight": np.full((3, 2), np.nan)}
    counts = np.array([[1.0, 3.0, 0.0], [1.0, 1.0, 2.0]])
    if padding is not None:
        counts[:, padding] = 0

    found = layer.gradient_sums(ids, error, np.array([1.0, 10.0]), into)

    assert found.tolist() == (2 * np.square(counts).sum(axis=1)).tolist()
    assert into["weight"].tolist() == [[c, c] for c in (counts[0] + 10 * counts[1]).tolist()]


def test_long_texts_run_by_run() -> None:
    layer = Embedding((200,), 50, 400, 3)
    ids: Any = np.random.default_rng(0).integers(0, 50, (30, 200))
    error, weights = drawn(30, 200, 400), np.arange(30) % 4.0
    into = {"weight": np.empty((50, 400))}

    found = layer.gradient_sums(ids, error, weights, into)

    assert CHUNK_BYTES < 2 * 30 * 200 * 400 * 8
    assert_sums(found, into["weight"], layer.each_gradient(ids, error)["weight"], weights)


@pytest.mark.parametrize("bytes_per_example", [0, 1, CHUNK_BYTES // 3, CHUNK_BYTES, 1 << 40])
def test_runs_cover_every_example_once_within_the_budget(bytes_per_example: int) -> None:
    runs = list(chunks(10, bytes_per_example))

    assert [n for run in runs for n in range(10)[run]] == list(range(10))
    for run in runs:
        count = run.stop - run.start
        assert count == 1 or count * bytes_per_example <= CHUNK_BYTES
    assert list(chunks(0, bytes_per_example)) == []
