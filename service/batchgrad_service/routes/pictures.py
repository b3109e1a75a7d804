"""Draw an example's input as an 8-bit PNG."""

import struct
import zlib
from collections.abc import Sequence
from math import isqrt

import numpy as np
import numpy.typing as npt

SMALLEST_SQUARE = 8
"""Flat inputs of k² numbers are drawn as k × k squares if k is at least this (digits: 8)."""


def picture_shape(input_shape: Sequence[int]) -> tuple[int, int, int] | None:
    """(channels, height, width) of inputs that can be drawn, else None.

    (h, w) and (1, h, w) are gray, (3, h, w) is RGB.
    """
    match tuple(input_shape):
        case (1 | 3 as channels, height, width):
            return channels, height, width
        case (height, width) if height > 1 and width > 1:
            return 1, height, width
        case (count,) if isqrt(count) ** 2 == count and count >= SMALLEST_SQUARE**2:
            return 1, isqrt(count), isqrt(count)
    return None


def png(values: npt.NDArray[np.generic], shape: tuple[int, int, int]) -> bytes:
    """`values` (channels · height · width) as PNG: the smallest black, the largest white.

    Values that are not finite are drawn as the smallest. PNG: ISO/IEC 15948.
    """
    channels, height, width = shape
    numbers = values.astype(np.float64).reshape(shape)
    finite = np.isfinite(numbers)
    low = numbers[finite].min() if finite.any() else 0.0
    high = numbers[finite].max() if finite.any() else 0.0
    scaled = (np.where(finite, numbers, low) - low) * (255 / (high - low) if high > low else 0.0)
    pixels = scaled.round().astype(np.uint8).transpose(1, 2, 0).reshape(height, width * channels)
    lines = np.hstack([np.zeros((height, 1), np.uint8), pixels])  # 0: a line without a filter
    colour = 0 if channels == 1 else 2
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes())), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
