"""Random words by the ChaCha20 cipher (RFC 8439), the same for a key, a step and a stream."""

import numpy as np
import numpy.typing as npt

from batchgrad_workers.nn.kernels.jit import compiled_in_order

U32 = npt.NDArray[np.uint32]
BLOCK_WORDS = 8
"""64-bit words in a block of 64 bytes."""

_CONSTANTS = np.frombuffer(b"expand 32-byte k", "<u4")


def words(key: bytes, step: int, stream: int, count: int) -> npt.NDArray[np.uint64]:
    """`count` 64-bit words from a key of 32 bytes, for a step below 2^64 and a stream below 2^32.

    The nonce is the stream and the step, the block counter begins at 0.
    """
    state = np.empty(16, np.uint32)
    state[:4] = _CONSTANTS
    state[4:12] = np.frombuffer(key, "<u4")
    state[12] = 0
    state[13], state[14], state[15] = stream, step & 0xFFFFFFFF, step >> 32
    blocks = -(-count // BLOCK_WORDS)
    found = np.empty((blocks, 16), np.uint32)
    _blocks(state, found)
    return found.view(np.uint64).reshape(-1)[:count]


@compiled_in_order
def _blocks(state: U32, out: U32) -> None:
    """Write a keystream block to each row of `out` (b, 16)."""
    order = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
             (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))  # fmt: skip
    for b in range(len(out)):
        x = state.copy()
        x[12] += np.uint32(b)
        start = x.copy()
        for _ in range(10):
            for i, j, k, m in order:
                x[i] += x[j]
                x[m] ^= x[i]
                x[m] = (x[m] << np.uint32(16)) | (x[m] >> np.uint32(16))
                x[k] += x[m]
                x[j] ^= x[k]
                x[j] = (x[j] << np.uint32(12)) | (x[j] >> np.uint32(20))
                x[i] += x[j]
                x[m] ^= x[i]
                x[m] = (x[m] << np.uint32(8)) | (x[m] >> np.uint32(24))
                x[k] += x[m]
                x[j] ^= x[k]
                x[j] = (x[j] << np.uint32(7)) | (x[j] >> np.uint32(25))
        out[b] = x + start
