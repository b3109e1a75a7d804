"""Pictures of examples."""

import io

import numpy as np
import pytest
from PIL import Image

from batchgrad_service.routes.pictures import picture_shape, png


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((28, 30), (1, 28, 30)),
        ((1, 8, 9), (1, 8, 9)),
        ((3, 8, 9), (3, 8, 9)),
        ((64,), (1, 8, 8)),
        ((49,), None),
        ((65,), None),
        ((1, 64), None),
        ((4, 8, 9), None),
        ((), None),
    ],
)
def test_only_inputs_of_image_shapes_are_drawn(
    shape: tuple[int, ...], expected: tuple[int, int, int] | None
) -> None:
    assert picture_shape(shape) == expected


@pytest.mark.parametrize("channels", [1, 3])
def test_another_decoder_reads_the_same_pixels(channels: int) -> None:
    values = np.random.default_rng(0).integers(0, 256, (channels, 5, 7)).astype(np.float32)
    values.flat[:2] = 0, 255  # so that the scale is one to one
    seen = np.asarray(Image.open(io.BytesIO(png(values, (channels, 5, 7)))))
    assert np.array_equal(seen.reshape(5, 7, channels).transpose(2, 0, 1), values)


def test_the_range_is_scaled_and_nonfinite_values_are_black() -> None:
    values = np.array([-2.0, 0.0, np.nan, np.inf])
    seen = np.asarray(Image.open(io.BytesIO(png(values, (1, 2, 2)))))
    assert seen.tolist() == [[0, 255], [0, 0]]
    for flat in (np.full(4, 7.0), np.full(4, np.nan)):
        assert not np.asarray(Image.open(io.BytesIO(png(flat, (1, 2, 2))))).any()
