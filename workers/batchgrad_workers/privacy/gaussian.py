"""Exact discrete Gaussian numbers with σ = 2^30, from the words of keyed streams.

Karney, "Sampling exactly from the normal distribution" (2016), algorithm D: an attempt draws a
sign, a whole number k with P(k) ∝ exp(-k²/2) and a fraction x = j/2^30 with j uniform, and accepts
with probability exp(-x (2k + x)/2), so that z = ±(k 2^30 + j) has P(z) ∝ exp(-z²/2σ²). Minus zero
is rejected: zero would count twice.

Why this is exact, on every machine: the kernel decides only where all real numbers that begin with
a word's bits are on one side: k by whole thresholds around the exact cumulated P(k), acceptance
where the word is farther from the computed exp than a margin that floating point cannot err by. Of
10^9 attempts one stays in doubt; whole numbers and as many further bits as it takes decide that.
"""

import hmac
import json
from collections.abc import Iterator
from itertools import count as count_from
from math import ceil, sqrt

import numpy as np

from batchgrad_workers.privacy.attempts import (
    Doubt,
    Whole,
    exact_number,
    least_doubt,
    write_accepted,
)
from batchgrad_workers.privacy.chacha import BLOCK_WORDS, words
from batchgrad_workers.trainable import Run

SIGMA_BITS = 30
"""σ is 2^30."""
BLOCK = 16_384
"""Numbers of one stream; a stream is drawn by one thread."""


def discrete_gaussian(key: bytes, step: int, count: int, run: Run | None = None) -> Whole:
    """`count` numbers (count,) of the discrete Gaussian on the integers with σ = 2^30.

    They depend on the key (32 bytes) and the step alone. `run` computes streams on threads.
    """
    found = np.empty(count, np.int64)
    doubt = least_doubt()

    def draw(stream: int) -> None:
        write_stream(found[stream * BLOCK : (stream + 1) * BLOCK], key, step, stream, doubt)

    streams = range(-(-count // BLOCK))
    if run is None:
        for stream in streams:
            draw(stream)
    else:
        run(streams, draw)
    return found


def write_stream(
    out: Whole, key: bytes, step: int, stream: int, doubt: Doubt, bits: int = SIGMA_BITS
) -> None:
    """Fill `out` (n,) with the first n numbers of a stream, for σ = 2^bits."""
    filled = first = 0
    while filled < len(out):
        attempts = attempts_for(len(out) - filled)
        found = words(key, step, stream, 2 * attempts, 2 * first)
        tried = 0
        while tried < attempts and filled < len(out):
            wrote, decided = write_accepted(found[2 * tried :], *doubt, bits, out[filled:])
            filled += wrote
            tried += decided
            if tried < attempts and filled < len(out):
                own, other = found[2 * tried : 2 * tried + 2].tolist()
                more = more_words(key, step, stream, first + tried)
                number = exact_number(own, other, more, bits)
                if number is not None:
                    out[filled] = number
                    filled += 1
                tried += 1
        first += attempts


def attempts_for(numbers: int) -> int:
    """Attempts that mostly suffice, of which 71.5% give a number; whole blocks of the cipher."""
    enough = 1.4 * numbers + 5 * sqrt(numbers)
    return ceil(enough * 2 / BLOCK_WORDS) * BLOCK_WORDS // 2


def more_words(key: bytes, step: int, stream: int, attempt: int) -> Iterator[int]:
    """Further words of an attempt, from a key of its own."""
    own = hmac.digest(key, json.dumps(["more", step, stream, attempt]).encode(), "sha256")
    for first in count_from(0, BLOCK_WORDS):
        yield from words(own, 0, 0, BLOCK_WORDS, first).tolist()
