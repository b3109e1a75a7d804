"""ChaCha20 against RFC 8439's key streams and a plain implementation in Python."""

import struct

import numpy as np
import pytest

from batchgrad_workers.privacy.chacha import STREAM_WORDS, words

KEY = bytes(range(32))
RFC_BLOCK = (  # RFC 8439 2.3.2: counter 1, nonce 00:00:00:09:00:00:00:4a:00:00:00:00
    "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e"
    "d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e"
)
RFC_STREAM = (  # RFC 8439 2.4.2: counter 1, nonce 00:00:00:00:00:00:00:4a:00:00:00:00
    "224f51f3401bd9e12fde276fb8631ded8c131f823d2c06e27e4fcaec9ef3cf78"
    "8a3b0aa372600a92b57974cded2b9334794cba40c63e34cdea212c4cf07d41b7"
    "69a6749f3f630f4122cafe28ec4dc47e26d4346d70b98c73f3e9c53ac40c5945"
    "398b6eda1a832c89c167eacd901d7e2bf363"
)


def rotated(x: int, bits: int) -> int:
    return (x << bits | x >> 32 - bits) & 0xFFFFFFFF


def block(key: bytes, counter: int, nonce: bytes) -> bytes:
    """A block of the key stream, line by line as RFC 8439 2.3 tells it."""
    start = [*struct.unpack("<4I", b"expand 32-byte k"), *struct.unpack("<8I", key), counter]
    start += struct.unpack("<3I", nonce)
    x = start.copy()

    def quarter(a: int, b: int, c: int, d: int) -> None:
        for to, plus, turned, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            x[to] = (x[to] + x[plus]) & 0xFFFFFFFF
            x[turned] = rotated(x[turned] ^ x[to], bits)

    for _ in range(10):
        for i in range(4):
            quarter(i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return struct.pack("<16I", *((a + b) & 0xFFFFFFFF for a, b in zip(x, start, strict=True)))


def plain(key: bytes, step: int, stream: int, count: int, first: int) -> list[int]:
    nonce = struct.pack("<IQ", stream, step)
    blocks = range(first // 8, -(-(first + count) // 8))
    text = b"".join(block(key, counter, nonce) for counter in blocks)
    return [number for (number,) in struct.iter_unpack("<Q", text)][:count]


@pytest.mark.parametrize(("stream", "expected"), [(0x09000000, RFC_BLOCK), (0, RFC_STREAM)])
def test_the_rfcs_key_streams(stream: int, expected: str) -> None:
    found = words(KEY, 0x4A000000, stream, 16, first=8).tobytes()

    assert found.hex().startswith(expected)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 127, 128, 129, 300])
def test_words_are_those_of_a_plain_implementation(count: int) -> None:
    random = np.random.default_rng(count)
    for _ in range(3):
        key, stream = random.bytes(32), int(random.integers(2**32))
        step = int(random.integers(2**64, dtype=np.uint64))
        first = 8 * int(random.integers(2**32 - 40))

        found = words(key, step, stream, count, first)

        assert found.dtype == np.uint64
        assert found.tolist() == plain(key, step, stream, count, first)


def test_a_stream_begins_anywhere() -> None:
    whole = words(KEY, 3, 4, 1000)

    for first in (8, 128, 136, 992, 1000):
        assert (words(KEY, 3, 4, 1000 - first, first) == whole[first:]).all()


def test_the_last_words_of_a_stream() -> None:
    found = words(KEY, 2**64 - 1, 2**32 - 1, 16, STREAM_WORDS - 16)

    assert found.tolist() == plain(KEY, 2**64 - 1, 2**32 - 1, 16, STREAM_WORDS - 16)


def test_keys_steps_and_streams_have_words_of_their_own() -> None:
    keys = (KEY, bytes(32))
    places = [(key, step, stream) for key in keys for step in (0, 1, 2**32) for stream in (0, 1)]
    found = np.concatenate([words(*place, 500) for place in places])

    assert len(np.unique(found)) == len(found)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"key": bytes(31)}, "The key has 31 bytes; ChaCha20 needs 32"),
        ({"step": -1}, "The step is -1"),
        ({"step": 2**64}, "below 2\\^64"),
        ({"stream": -1}, "The stream is -1"),
        ({"stream": 2**32}, "below 2\\^32"),
        ({"count": -1}, "-1 words"),
        ({"first": 4}, "The first word is 4; it must be a multiple of 8"),
        ({"first": -8}, "The first word is -8"),
        ({"first": STREAM_WORDS - 8, "count": 9}, "take another stream"),
        ({"count": STREAM_WORDS + 1}, "a stream has 34359738368"),
    ],
)
def test_what_no_stream_has_is_refused(changed: dict[str, object], message: str) -> None:
    usual: dict[str, object] = {"key": KEY, "step": 0, "stream": 0, "count": 8}

    with pytest.raises(ValueError, match=message):
        words(**{**usual, **changed})  # type: ignore[arg-type]
