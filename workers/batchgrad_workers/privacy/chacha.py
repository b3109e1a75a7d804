"""Random words by the ChaCha20 cipher (RFC 8439), the same for a key, a step and a stream."""

import numpy as np
import numpy.typing as npt

from batchgrad_workers.nn.kernels.jit import compiled_in_order
from batchgrad_workers.privacy.keys import KEY_BYTES

U32 = npt.NDArray[np.uint32]
Words = npt.NDArray[np.uint64]
Numbers = tuple[np.uint32, ...]

BLOCK_WORDS = 8
"""64-bit words in a block of 64 bytes."""
STREAM_WORDS = BLOCK_WORDS << 32
"""64-bit words in a stream: the cipher counts its blocks by 32 bits."""

_CONSTANTS = np.frombuffer(b"expand 32-byte k", "<u4")
_LANES = 16
"""Blocks that are computed side by side: as many as the widest vectors have lanes."""


def words(key: bytes, step: int, stream: int, count: int, first: int = 0) -> Words:
    """`count` 64-bit words from a key of 32 bytes, for a step below 2^64 and a stream below 2^32.

    The nonce is the stream and the step. A stream has 2^35 words; `first`, a multiple of 8, says
    with which one the answer begins.
    """
    if len(key) != KEY_BYTES:
        raise ValueError(f"The key has {len(key)} bytes; ChaCha20 needs {KEY_BYTES}.")
    if not 0 <= step < 2**64:
        raise ValueError(f"The step is {step}; it must be at least 0 and below 2^64.")
    if not 0 <= stream < 2**32:
        raise ValueError(f"The stream is {stream}; it must be at least 0 and below 2^32.")
    if first < 0 or first % BLOCK_WORDS:
        raise ValueError(f"The first word is {first}; it must be a multiple of {BLOCK_WORDS}.")
    if count < 0 or first + count > STREAM_WORDS:
        raise ValueError(
            f"{count} words from word {first} on were asked for; a stream has {STREAM_WORDS}: "
            "take another stream."
        )
    state = np.empty(16, np.uint32)
    state[:4] = _CONSTANTS
    state[4:12] = np.frombuffer(key, "<u4")
    state[12] = first // BLOCK_WORDS
    state[13], state[14], state[15] = stream, step & 0xFFFFFFFF, step >> 32
    found = np.empty(-(-count // BLOCK_WORDS) * BLOCK_WORDS, np.uint64)
    _write_blocks(state, found)
    return found[:count]


@compiled_in_order
def _quarter(a: np.uint32, b: np.uint32, c: np.uint32, d: np.uint32) -> Numbers:
    """The quarter round (RFC 8439 2.1) of four 32-bit numbers."""
    a = np.uint32(a + b)
    d = np.uint32(d ^ a)
    d = np.uint32((d << np.uint32(16)) | (d >> np.uint32(16)))
    c = np.uint32(c + d)
    b = np.uint32(b ^ c)
    b = np.uint32((b << np.uint32(12)) | (b >> np.uint32(20)))
    a = np.uint32(a + b)
    d = np.uint32(d ^ a)
    d = np.uint32((d << np.uint32(8)) | (d >> np.uint32(24)))
    c = np.uint32(c + d)
    b = np.uint32(b ^ c)
    b = np.uint32((b << np.uint32(7)) | (b >> np.uint32(25)))
    return a, b, c, d


@compiled_in_order
def _double_round(x: Numbers) -> Numbers:
    """A round of columns and a round of diagonals of the state, a tuple of 16 numbers."""
    x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11, x12, x13, x14, x15 = x
    x0, x4, x8, x12 = _quarter(x0, x4, x8, x12)
    x1, x5, x9, x13 = _quarter(x1, x5, x9, x13)
    x2, x6, x10, x14 = _quarter(x2, x6, x10, x14)
    x3, x7, x11, x15 = _quarter(x3, x7, x11, x15)
    x0, x5, x10, x15 = _quarter(x0, x5, x10, x15)
    x1, x6, x11, x12 = _quarter(x1, x6, x11, x12)
    x2, x7, x8, x13 = _quarter(x2, x7, x8, x13)
    x3, x4, x9, x14 = _quarter(x3, x4, x9, x14)
    return x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11, x12, x13, x14, x15


@compiled_in_order
def _write_blocks(state: U32, out: Words) -> None:
    """Fill `out` (8 b,) with the key stream of b blocks from `state` (16,) on, counter at 12."""
    blocks = len(out) // BLOCK_WORDS
    side = np.empty(16 * _LANES, np.uint32)  # number i of the block in lane l is at 16 i + l
    s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14, s15 = (
        state[0], state[1], state[2], state[3], state[4], state[5], state[6], state[7],
        state[8], state[9], state[10], state[11], state[12], state[13], state[14], state[15],
    )  # fmt: skip
    for first in range(0, blocks, _LANES):
        for lane in range(_LANES):
            count = np.uint32(s12 + np.uint32(first) + np.uint32(lane))
            x: Numbers = s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, count, s13, s14, s15
            # written out: a loop over rounds would keep the loop over lanes from becoming vectors
            x = _double_round(_double_round(_double_round(_double_round(_double_round(x)))))
            x = _double_round(_double_round(_double_round(_double_round(_double_round(x)))))
            x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11, x12, x13, x14, x15 = x
            side[lane] = x0 + s0
            side[_LANES + lane] = x1 + s1
            side[2 * _LANES + lane] = x2 + s2
            side[3 * _LANES + lane] = x3 + s3
            side[4 * _LANES + lane] = x4 + s4
            side[5 * _LANES + lane] = x5 + s5
            side[6 * _LANES + lane] = x6 + s6
            side[7 * _LANES + lane] = x7 + s7
            side[8 * _LANES + lane] = x8 + s8
            side[9 * _LANES + lane] = x9 + s9
            side[10 * _LANES + lane] = x10 + s10
            side[11 * _LANES + lane] = x11 + s11
            side[12 * _LANES + lane] = x12 + count
            side[13 * _LANES + lane] = x13 + s13
            side[14 * _LANES + lane] = x14 + s14
            side[15 * _LANES + lane] = x15 + s15
        for lane in range(min(_LANES, blocks - first)):
            for i in range(BLOCK_WORDS):
                low, high = side[2 * i * _LANES + lane], side[(2 * i + 1) * _LANES + lane]
                out[(first + lane) * BLOCK_WORDS + i] = low | (np.uint64(high) << np.uint64(32))
