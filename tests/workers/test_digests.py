"""Checksums of vectors."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from batchgrad_workers.arrays import Array
from batchgrad_workers.digests import checksums


def checksum(vector: Array) -> str:
    """Of one alone."""
    return checksums(vector[None])[0]


@given(st.integers(1, 9000), st.integers(0, 2**63), st.sampled_from([np.float32, np.float64]))
def test_one_changed_bit_shows(size: int, place: int, dtype: type[np.floating]) -> None:
    vector = np.random.default_rng(size).normal(size=size).astype(dtype)
    before = checksum(vector)
    assert checksum(vector.copy()) == before
    content = vector.view(np.uint8)
    content[place // 8 % len(content)] ^= 1 << place % 8
    assert checksum(vector) != before


def test_vectors_together_have_the_checksums_that_each_has_alone() -> None:
    for size in (1, 255, 256, 2410, 2411):
        vectors = np.random.default_rng(size).normal(size=(3, size)).astype(np.float32)
        assert checksums(vectors) == [checksum(each) for each in vectors]


def test_stored_checksums_stay_comparable() -> None:
    assert checksum(np.arange(3000, dtype="<f4")) == "03404db6e7c84872b68181833dcbc456"


def test_order_kind_and_length_show() -> None:
    vector = np.arange(5000, dtype=np.float32)
    others: list[Array] = [vector[::-1].copy(), vector.astype(np.float64), vector[:-1]]
    others.append(np.roll(vector, 2))
    assert len({checksum(each) for each in [vector, *others]}) == 5
    assert len(checksum(vector)) == 32
