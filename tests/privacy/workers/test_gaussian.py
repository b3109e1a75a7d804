"""Discrete Gaussian numbers attempt by attempt, against decimals of 60 digits, and their bits."""

import hashlib
from collections.abc import Iterator
from decimal import Decimal, localcontext
from itertools import chain, islice, repeat
from math import floor

import numpy as np
import pytest

from batchgrad_workers.privacy import gaussian
from batchgrad_workers.privacy.attempts import (
    MARGIN,
    Doubt,
    approximate_exp_minus,
    exact_number,
    least_doubt,
    write_accepted,
)
from batchgrad_workers.privacy.chacha import words
from batchgrad_workers.privacy.gaussian import BLOCK, discrete_gaussian, more_words, write_stream
from batchgrad_workers.runtime.threads import ThreadPool

KEY = bytes(range(32))
ONES = 2**64 - 1
ALL_IN_DOUBT = Doubt((0,) * 7, (2**33,) * 7, 2.0)


@pytest.fixture(autouse=True)
def sixty_digits() -> Iterator[None]:
    with localcontext() as context:
        context.prec = 60
        yield


def exp_minus(k: int, j: int, bits: int) -> Decimal:
    x = Decimal(j) / 2**bits
    return (-x * (2 * k + x) / 2).exp()


def cumulated() -> list[Decimal]:
    """P(k' <= k) for k from 0 on."""
    weights = [(-Decimal(k * k) / 2).exp() for k in range(20)]
    return [sum(weights[: k + 1], Decimal(0)) / sum(weights) for k in range(20)]


def numbers(count: int, stream: int, bits: int, doubt: Doubt | None = None) -> list[int]:
    found = np.empty(count, np.int64)
    write_stream(found, KEY, 5, stream, doubt or least_doubt(), bits)
    return found.tolist()


def by_decimals(attempts: int, stream: int, bits: int) -> list[int]:
    """The same attempts as Karney tells them, by their first words."""
    found, below = [], cumulated()
    for own, other in words(KEY, 5, stream, 2 * attempts).reshape(-1, 2).tolist():
        choice = Decimal(own % 2**33) / 2**33
        k = sum(choice >= each for each in below)
        j, minus = (own >> 33) % 2**bits, own >> 63
        if Decimal(other) / 2**64 < exp_minus(k, j, bits) and (k, j, minus) != (0, 0, 1):
            found.append((-1) ** minus * (k * 2**bits + j))
    return found


def verdict(own: int, other: int) -> int | None:
    """What the kernel says: 1 accepted, 0 rejected, None in doubt."""
    wrote, decided = write_accepted(
        np.array([own, other], np.uint64), *least_doubt(), 30, np.empty(1, np.int64)
    )
    return wrote if decided else None


@pytest.mark.parametrize("bits", [0, 3, 30])
def test_numbers_are_those_of_decimals(bits: int) -> None:
    expected = by_decimals(3000, 2, bits)

    assert numbers(len(expected), 2, bits) == expected


@pytest.mark.parametrize("bits", [0, 3, 30])
@pytest.mark.parametrize(
    "doubt", [ALL_IN_DOUBT, least_doubt()._replace(margin=0.1), ALL_IN_DOUBT._replace(margin=0)]
)
def test_what_is_in_doubt_is_decided_as_the_kernel_would(bits: int, doubt: Doubt) -> None:
    assert numbers(500, 1, bits, doubt) == numbers(500, 1, bits)


def test_numbers_do_not_depend_on_how_many_words_are_drawn_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual = numbers(3000, 0, 30)
    monkeypatch.setattr(gaussian, "attempts_for", lambda _: 4)

    assert numbers(3000, 0, 30) == usual
    assert numbers(300, 0, 30, ALL_IN_DOUBT) == usual[:300]


def test_thresholds_of_k_are_exact() -> None:
    lowest, highest, _ = least_doubt()

    assert list(lowest) == [floor(each * 2**33) for each in cumulated()[:7]]
    assert [high - low for low, high in zip(lowest, highest, strict=True)] == [1] * 7


def test_the_margin_is_a_thousand_times_the_error_of_exp() -> None:
    points = [7.5 * i / 20_000 for i in range(20_001)]

    worst = max(abs(Decimal(float(approximate_exp_minus(y))) - (-Decimal(y)).exp()) for y in points)
    assert worst * 1000 < MARGIN


@pytest.mark.parametrize("k", range(7))
def test_words_close_to_the_probability_are_decided_rightly_or_left_in_doubt(k: int) -> None:
    choice = [0, *least_doubt().highest][k]
    for j in np.random.default_rng(k).integers(0, 2**30, 20).tolist():
        own, limit = j << 33 | choice, floor(exp_minus(k, j, 30) * 2**64)
        for distance in (1, 2, 2**10, 2**20, 2**27, 2**30):
            for other in (limit - distance, limit + distance):
                number = exact_number(own, other, iter(()), 30)
                assert number == (k * 2**30 + j if other < limit else None)
                assert verdict(own, other) in {int(other < limit), None}
        far = 2**29  # twice the margin, in units of 2^-64
        assert (verdict(own, limit - far), verdict(own, limit + far)) == (1, 0)
        assert exact_number(own, limit, repeat(0), 30) == k * 2**30 + j
        assert exact_number(own, limit, repeat(ONES), 30) is None


@pytest.mark.parametrize("k", range(7))
def test_a_choice_on_a_threshold_is_decided_by_further_bits(k: int) -> None:
    own = least_doubt().lowest[k]

    assert verdict(own, 0) is None
    assert exact_number(own, 0, repeat(0), 0) == k
    larger = exact_number(own, 0, chain([ONES], repeat(0)), 0)
    assert larger == k + 1 if k < 6 else larger is not None and larger > 10


def test_each_attempt_in_doubt_has_further_bits_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def recorded(key: bytes, step: int, stream: int, attempt: int) -> Iterator[int]:
        asked.append((key, step, stream, attempt))
        return more_words(key, step, stream, attempt)

    monkeypatch.setattr(gaussian, "attempts_for", lambda _: 4)
    monkeypatch.setattr(gaussian, "more_words", recorded)
    numbers(20, 1, 30, ALL_IN_DOUBT)

    assert asked == [(KEY, 5, 1, attempt) for attempt in range(len(asked))]
    places = [*asked, (bytes(32), 5, 1, 0), (KEY, 6, 1, 0), (KEY, 5, 2, 0)]
    drawn = [word for place in places for word in islice(more_words(*place), 20)]
    assert len(set(drawn)) == len(drawn) == 20 * len(places)


def test_zero_has_one_sign_only() -> None:
    assert exact_number(0, 0, iter(()), 30) == 0
    assert exact_number(1 << 63, 0, iter(()), 30) is None
    assert (verdict(0, 0), verdict(1 << 63, 0)) == (1, 0)


def test_numbers_are_the_same_on_every_machine() -> None:
    found = discrete_gaussian(KEY, 7, 3 * BLOCK + 5)

    assert found.dtype == np.int64
    digest = hashlib.sha256(found.astype("<i8").tobytes()).hexdigest()
    assert digest == "e3489120c9c7a77a0caae4e00fd5ffafc1ed8dc1ed3eb7591a5c9e968c1319aa"


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 100, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 7])
def test_neither_threads_nor_the_count_change_a_number(threads: int, count: int) -> None:
    with ThreadPool(threads) as pool:
        found = discrete_gaussian(KEY, 3, count, pool.run)

    assert (found == discrete_gaussian(KEY, 3, 6 * BLOCK)[:count]).all()
    assert len(found) == count
